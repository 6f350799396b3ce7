"""What `forge-tui config` shows: every setting, its value and where it came from."""

from __future__ import annotations

from forge_tui.settings.layers import Resolved
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import fields_of


def config_rows(resolved: Resolved) -> list[tuple[str, str, str]]:
    """(key, value as TOML writes it or — if it is not set, source) of every setting, in the schema's order."""
    rows: list[tuple[str, str, str]] = []
    for key in fields_of():
        value = getattr(getattr(resolved.settings, key.table), key.name)
        text = "—" if value is None else shown(value)
        rows.append((key.key, text, resolved.sources[key.key].text))
    for name, values in resolved.settings.sweep.items():
        rows.append((f"sweep.{name}", shown(values), resolved.sources[f"sweep.{name}"].text))
    return rows
