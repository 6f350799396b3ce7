"""The rows of `forge-tui config`: every setting, its value and its source."""

from __future__ import annotations

from forge_tui.settings.keys import FREE_TABLES
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import fields_of, to_plain
from forge_tui.settings.setting_layers import Resolved
from forge_tui.settings.space import SPACE
from forge_tui.settings.space import TABLE as SEARCH
from forge_tui.settings.sweep import TABLE as SWEEP


def config_rows(resolved: Resolved) -> list[tuple[str, str, str]]:
    """(key, value in TOML or — if not set, source) of every setting, in the schema's order.

    The source of a locked one ends with the file that locks it.
    """
    rows: list[tuple[str, str, str]] = []
    plain = to_plain(resolved.settings)
    free = [f"{table}.{name}" for table in (*FREE_TABLES, SWEEP) for name in plain[table]]
    for name in (*(key.key for key in fields_of()), *free):
        table, _, own = name.partition(".")
        value = plain[table][own]
        rows.append((name, "—" if value is None else shown(value), _source(resolved, name)))
    for name, searched in plain[SEARCH][SPACE].items():
        key = f"{SEARCH}.{SPACE}.{name}"
        rows.append((key, shown(searched), _source(resolved, key)))
    return rows


def _source(resolved: Resolved, name: str) -> str:
    lock, source = resolved.site.lock_of(name), resolved.sources[name].text
    if lock is None:
        return source
    return f"{source} (locked)" if source == lock.place else f"{source}, locked by {lock.place}"
