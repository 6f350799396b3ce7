"""Which engine settings fit together, and what is said where Ray is missing or old."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from typing import Any

import pytest

from forge_tui.errors import SettingsError, UsageError
from forge_tui.settings.engine import require_engine
from forge_tui.settings.schema import EngineSettings, ResourceSettings, Settings


def engine(**values: Any) -> Settings:
    return Settings(engine=EngineSettings(**values))


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has Ray be installed in a version, or not at all."""

    def version(number: str | None) -> None:
        find, known = importlib.util.find_spec, metadata.version
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: number if name == "ray" else find(name))
        monkeypatch.setattr(metadata, "version", lambda name: number if name == "ray" else known(name))

    return version


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"address": "h:1"}, 'engine.address = "h:1"'),
        ({"files": "shared"}, 'engine.files = "shared"'),
        ({"trust_cluster": True}, "engine.trust_cluster = true"),
        ({"mixed_nodes": True}, "engine.mixed_nodes = true"),
    ],
)
def test_settings_of_ray_are_refused_beside_the_local_engine(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        require_engine(engine(**values))
    assert said in str(refused.value)
    assert "add --engine ray" in str(refused.value)


def test_the_local_engine_needs_no_ray(ray: Any) -> None:
    ray(None)
    require_engine(engine())


@pytest.mark.parametrize("address", ["auto", "head:6379", "10.0.0.1:6379", "[::1]:6379"])
def test_an_address_is_that_of_the_head_node(ray: Any, address: str) -> None:
    ray("2.60.0")
    require_engine(engine(name="ray", address=address))


@pytest.mark.parametrize(
    ("address", "said"), [("head", "give HOST:PORT"), ("a b:1", "give HOST:PORT"), ("ray://h:1", "Ray Client")]
)
def test_another_address_is_refused_with_what_to_give(ray: Any, address: str, said: str) -> None:
    ray("2.60.0")
    with pytest.raises(SettingsError, match=said):
        require_engine(engine(name="ray", address=address))


def test_trust_without_a_cluster_to_trust_is_refused(ray: Any) -> None:
    ray("2.60.0")
    with pytest.raises(SettingsError, match="a cluster is started here, with authentication"):
        require_engine(engine(name="ray", trust_cluster=True))


def on_nodes(**resources: Any) -> Settings:
    return Settings(engine=EngineSettings(name="ray"), resources=ResourceSettings(**resources))


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("mps", "models train on CPUs or NVIDIA GPUs"),
        (("0", "1"), r'\["0", "1"\]: 0 is a place on one machine, .* give beginnings of UUIDs'),
        (("GPU-5f", "3"), "3 is a place on one machine"),
    ],
)
def test_devices_that_name_no_gpu_of_a_node_are_refused_beside_ray(ray: Any, device: Any, said: str) -> None:
    ray("2.60.0")
    with pytest.raises(SettingsError, match=f"resources.device = .*{said}"):
        require_engine(on_nodes(device=device))


@pytest.mark.parametrize("resources", [{"device": "cuda"}, {"device": ("GPU-5f", "mig-1")}, {"devices_per_model": 2}])
def test_gpus_of_nodes_are_known_to_the_nodes_only(ray: Any, resources: Any) -> None:
    ray("2.60.0")
    require_engine(on_nodes(**resources))


def test_where_ray_is_missing_the_words_say_how_to_install_it(ray: Any) -> None:
    ray(None)
    with pytest.raises(UsageError, match=r"Ray is not installed here; pip install 'forge-tui\[ray\]' installs it"):
        require_engine(engine(name="ray"))


@pytest.mark.parametrize(
    ("version", "is_refused"), [("2.51.9", True), ("2.52", False), ("3.0.0rc1", False), ("?", True)]
)
def test_a_ray_without_authentication_is_too_old(ray: Any, version: str, is_refused: bool) -> None:
    ray(version)
    if is_refused:
        with pytest.raises(UsageError, match=r"2\.52 or newer is needed"):
            require_engine(engine(name="ray"))
    else:
        require_engine(engine(name="ray"))
