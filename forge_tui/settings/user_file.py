"""The places of the user's settings file, state and cache. No schema here: the UI needs them before its first paint."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

STATE_VARIABLE = "FORGE_TUI_STATE"
"""Environment variable for another state directory, such as one shared by containers or hosts. Not a setting."""


def user_settings_file() -> Path:
    """The user's own settings file; it need not exist."""
    return platformdirs.user_config_path("forge-tui", appauthor=False) / "settings.toml"


def state_directory() -> Path:
    """The directory of the user's state: known and trusted runs, claims on the machine, the UI's last choices.

    `FORGE_TUI_STATE` if set, else the platform's.
    """
    named = os.environ.get(STATE_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return platformdirs.user_state_path("forge-tui", appauthor=False)


def cache_directory() -> Path:
    """The directory of what can be made again: `XDG_CACHE_HOME`/forge-tui or the platform's."""
    return platformdirs.user_cache_path("forge-tui", appauthor=False)
