"""The presets that ship with the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forge_tui.errors import SettingsError
from forge_tui.settings import presets
from forge_tui.settings.files import read_settings
from forge_tui.settings.presets import preset_names, preset_path, preset_summary
from forge_tui.settings.schema import Settings, fields_of


def test_the_presets_there_are() -> None:
    assert preset_names() == ["default", "dedicated", "grokking", "grokking-fast", "headless", "parallel"]


@pytest.mark.parametrize("name", ["default", "dedicated", "grokking", "grokking-fast", "headless", "parallel"])
def test_a_preset_is_valid_and_says_what_it_is_for(name: str) -> None:
    read_settings(preset_path(name))

    assert re.fullmatch(r"[A-Z].{30,110}\.", preset_summary(name))


def test_the_default_preset_shows_every_setting_with_its_default() -> None:
    text = preset_path("default").read_text(encoding="utf-8")

    assert read_settings(preset_path("default")) == Settings()
    sections = dict(re.findall(r"^\[(\w+)\](.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL))
    for key in fields_of():
        assert re.search(rf"^(# )?{key.name} = ", sections[key.table], re.MULTILINE), key.key


def test_what_the_presets_set() -> None:
    parallel, dedicated, headless = (read_settings(preset_path(name)) for name in ("parallel", "dedicated", "headless"))

    assert (parallel.training.training_mode, parallel.resources.policy) == ("parallel", "shared")
    assert (dedicated.training.training_mode, dedicated.resources.policy) == ("parallel", "dedicated")
    assert dedicated.resources.memory_per_worker_gb == "measured"
    assert (headless.training.training_mode, headless.run.json) == ("parallel", True)
    assert headless.run.max_seconds == 23.5 * 3600


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dedicatd", "unknown preset dedicatd; did you mean dedicated?"),
        ("../settings/default", None),
        ("", None),
    ],
)
def test_an_unknown_preset_is_told_with_those_there_are(name: str, message: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        preset_path(name)

    assert message is None or str(caught.value).startswith(message)
    assert "(there are default, dedicated, grokking, grokking-fast, headless, parallel)" in str(caught.value)


def test_installed_presets_are_found_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "__file__", str(tmp_path / "forge_tui" / "settings" / "presets.py"))
    with pytest.raises(SettingsError, match=r"the presets are missing from .*; install forge-tui again"):
        preset_names()
    for directory in ("settings", "forge_tui/presets"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / f"from-{Path(directory).name}.toml").touch()

    assert preset_names() == ["from-presets"]
