"""The engine in the settings: what fits together, and whether it is installed."""

from __future__ import annotations

import re

from forge_tui.errors import SettingsError
from forge_tui.safe_io.printing import escaped
from forge_tui.settings.packages import ExtraPackage
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import EngineSettings, Settings, fields_of

RAY = ExtraPackage(name="ray", title="Ray", extra="ray", oldest=(2, 52), reason=" (it has token authentication)")
_RAY_ONLY = ("address", "files", "trust_cluster", "mixed_nodes")
_ADDRESS = re.compile(r"auto|\[[0-9A-Fa-f:.]+\]:\d{1,5}|[^\s:/\[\]]+:\d{1,5}")


def require_engine(settings: Settings) -> None:
    """Raise `UsageError` unless the engine can be used: its settings fit, and what it needs is installed."""
    engine = settings.engine
    if engine.name == "local":
        _require_none_of_ray(engine)
        return
    if engine.address is not None:
        _require_address(engine.address)
    elif engine.trust_cluster:
        raise SettingsError(
            "engine.trust_cluster = true: without engine.address a cluster is started here, with authentication; give "
            "--address, or leave it out"
        )
    _require_node_devices(settings)
    require_ray()


def require_ray() -> None:
    """Raise `UsageError` unless Ray is installed in a version that can be used. Does not import it."""
    RAY.require("engine.name = ray")


def _require_none_of_ray(engine: EngineSettings) -> None:
    """Raise `SettingsError` for settings that only the Ray engine uses: nothing would read them."""
    given = [
        f"{key.key} = {shown(value)}"
        for key in fields_of()
        if key.table == "engine" and key.name in _RAY_ONLY and (value := getattr(engine, key.name)) != key.default
    ]
    if given:
        raise SettingsError(f"{', '.join(given)}: only the Ray engine uses this; add --engine ray, or leave it out")


def _require_node_devices(settings: Settings) -> None:
    """Raise `SettingsError` for devices that do not name GPUs of a cluster's nodes."""
    device = settings.resources.device
    if device == "mps":
        raise SettingsError(
            "resources.device = mps: with --engine ray models train on CPUs or NVIDIA GPUs of the nodes; leave it out, "
            "or use the local engine"
        )
    indices = [str(one) for one in device if str(one).isdecimal()] if not isinstance(device, str) else []
    if indices:
        raise SettingsError(
            f"resources.device = {shown(device)}: {indices[0]} is a place on one machine, and every node of a cluster "
            "counts from 0; give beginnings of UUIDs, which `forge-tui doctor --engine ray` shows, or cuda for all GPUs"
        )


def _require_address(address: str) -> None:
    if address.startswith("ray://"):
        raise SettingsError(
            f"engine.address = {escaped(address)}: the Ray Client is not supported; run forge-tui on a machine of the "
            "cluster, and give the address of its head node (HOST:PORT) or `auto`"
        )
    if _ADDRESS.fullmatch(address) is None:
        raise SettingsError(
            f"engine.address = {escaped(address)}: give HOST:PORT of the cluster's head node, or `auto`"
        )
