"""Where the user's own settings and what is remembered for them lie. No schema here: the UI asks before it paints."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

STATE_VARIABLE = "FORGE_TUI_STATE"
"""Names another state directory, such as one that several containers or hosts share. No setting."""


def user_settings_file() -> Path:
    """The user's own settings file; it need not exist."""
    return platformdirs.user_config_path("forge-tui", appauthor=False) / "settings.toml"


def state_directory() -> Path:
    """Where a user's state lies: the known and trusted runs, claims on the machine, the UI's last choices.

    The directory that `FORGE_TUI_STATE` names, else the platform's.
    """
    named = os.environ.get(STATE_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return platformdirs.user_state_path("forge-tui", appauthor=False)
