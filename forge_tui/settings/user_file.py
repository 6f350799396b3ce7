"""Where the user's own settings lie. No schema here: the UI asks before its first paint."""

from __future__ import annotations

from pathlib import Path


def user_settings_file() -> Path:
    """The user's own settings file; it need not exist."""
    import platformdirs

    return platformdirs.user_config_path("forge-tui", appauthor=False) / "settings.toml"
