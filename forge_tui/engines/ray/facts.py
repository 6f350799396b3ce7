"""What the bytes of a model depend on, of this machine: versions and CPU, compared before a node is used. No torch."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

import forge_tui
from forge_tui.resources.processor import processor

_WORDS = {"forge_tui": "forge-tui", "torch": "torch", "numpy": "numpy", "python": "Python", "processor": "CPU"}


def facts_here() -> dict[str, str]:
    """This machine's versions and CPU model, by name."""
    return {
        "forge_tui": forge_tui.__version__,
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "processor": processor(),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """How a node (`there`) differs from this machine, in words: `torch 2.8.0 (here 2.9.1)`."""
    return [
        f"{_WORDS[name]} {there.get(name, 'unknown')} (here {value})"
        for name, value in here.items()
        if there.get(name) != value
    ]
