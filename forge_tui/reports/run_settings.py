"""The settings that a run was started with, as plain values by dotted key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forge_tui.errors import ForgeError
from forge_tui.runs.inside import refuse_links
from forge_tui.runs.layout import RunDirectory


def read_run_settings(path: Path) -> tuple[Mapping[str, Any] | None, str]:
    """The settings of the run directory `path`, or None and why they cannot be read."""
    from forge_tui.settings.files import read_settings
    from forge_tui.settings.schema import by_full_name, to_plain

    try:
        settings = RunDirectory(path).settings
        refuse_links(settings, settings.parent)
        plain = to_plain(read_settings(settings))
    except ForgeError as error:
        return None, str(error)
    return by_full_name(plain), ""
