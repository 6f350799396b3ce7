"""Where the user's own settings and what is remembered for them lie. No schema here: the UI asks before it paints."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def user_settings_file() -> Path:
    """The user's own settings file; it need not exist."""
    return platformdirs.user_config_path("forge-tui", appauthor=False) / "settings.toml"


def state_directory() -> Path:
    """The platform's directory for a user's state: the known runs, claims on the machine, the UI's last choices."""
    return platformdirs.user_state_path("forge-tui", appauthor=False)
