"""The settings files that ship with the package."""

from __future__ import annotations

from pathlib import Path

from forge_tui.errors import SettingsError
from forge_tui.safe_io.printing import escaped
from forge_tui.settings.problems import did_you_mean


def preset_directory() -> Path:
    """The directory of the presets: beside the package's modules if installed, else `settings/` in the source tree."""
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "presets", package.parent / "settings"):
        if directory.is_dir():
            return directory
    raise SettingsError(f"the presets are missing from {package / 'presets'}; install forge-tui again")


def preset_names() -> list[str]:
    """The names that `--preset` takes, `default` first."""
    return sorted((path.stem for path in preset_directory().glob("*.toml")), key=lambda name: (name != "default", name))


def preset_path(name: str) -> Path:
    """The file of a preset. Raises `SettingsError` naming the existing ones."""
    names = preset_names()
    if name not in names:
        hint = did_you_mean(name, names)
        raise SettingsError(f"unknown preset {escaped(name)}{hint or ''} (there are {', '.join(names)})")
    return preset_directory() / f"{name}.toml"


def preset_summary(name: str) -> str:
    """What a preset is for: the first line of its file."""
    first, _, _ = preset_path(name).read_text(encoding="utf-8").partition("\n")
    return first.lstrip("# ").rstrip()
