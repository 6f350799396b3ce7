"""`[ui]` of the site's and the user's settings, read without the schema: the first paint does not wait for it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from forge_tui.settings.device_names import device_in
from forge_tui.settings.site_file import plain_site_table
from forge_tui.settings.user_file import user_settings_file

_COUNTS = ("max_suggested_workers", "devices_per_model")
THEMES = ("dark", "light", "contrast", "ansi")


class UiOptions(NamedTuple):
    """Options of the UI. `refresh`: repaints per second."""

    theme: str | None = None
    refresh: float = 2.0
    ascii: bool = False
    mouse: bool = True
    bell: bool = True


def read_options(environment: Mapping[str, str] = os.environ) -> UiOptions:
    """The site's file, the user's, the environment. Invalid values are ignored: `forge-tui config` reports them."""
    values = {**plain_site_table("ui").values, **_table("ui", user_settings_file())}
    for name in ("theme", "refresh", "ascii", "mouse", "bell"):
        text = environment.get(f"FORGE_TUI_UI__{name.upper()}")
        if text is not None:
            values[name] = _parsed(text)
    return options_of(values)


def options_of(values: Mapping[str, Any]) -> UiOptions:
    """Options from plain values; invalid ones keep their defaults."""
    theme, refresh = values.get("theme"), values.get("refresh")
    fits = isinstance(refresh, int | float) and not isinstance(refresh, bool) and 0 < refresh <= 10
    return UiOptions(
        theme=theme if theme in THEMES else None,
        refresh=float(refresh) if fits and refresh is not None else 2.0,
        ascii=values.get("ascii") is True,
        mouse=values.get("mouse") is not False,
        bell=values.get("bell") is not False,
    )


def read_resources(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Valid values of `[resources]` in the site's file, the user's, then the environment, by the names of the rules.

    What the site locks is the site's, or the default.
    """
    from forge_tui.resources.policy import DefaultThresholds

    site = plain_site_table("resources")
    values = _table("resources", user_settings_file())
    rules = {field.name: getattr(DefaultThresholds(), field.name) for field in dataclasses.fields(DefaultThresholds)}
    for name in rules:
        text = environment.get(f"FORGE_TUI_RESOURCES__{name.upper()}")
        if text is not None:
            values[name] = _parsed(text)
    values = {**site.values, **{name: value for name, value in values.items() if not site.holds(name)}}
    if "device" in values:
        values["device"] = device_in(values["device"])
    return {name: value for name, value in values.items() if name in rules and _may_stand(name, value)}


def _may_stand(name: str, value: Any) -> bool:
    if name == "policy":
        return value in ("shared", "dedicated")
    if name == "device":
        return value is not None
    if isinstance(value, str):
        return name == "memory_per_worker_gb" and value == "measured"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and value > 0 and (isinstance(value, int) or name not in _COUNTS)


def _table(name: str, path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    import tomllib  # here: most users have no such file

    try:
        table = tomllib.loads(text).get(name, {})
    except tomllib.TOMLDecodeError:
        return {}
    return dict(table) if isinstance(table, dict) else {}


def _parsed(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
