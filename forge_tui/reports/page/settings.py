"""What a run was started with, on a page: its settings, its data and code, and the versions that trained it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.reports.page.tables import Section, data_table, facts, folded, section
from forge_tui.reports.run_settings import read_run_settings
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.schema import Settings, by_full_name, to_plain
from forge_tui.text.config_tables import value_text
from forge_tui.text.markup import Markup, element


def settings_section(directory: RunDirectory, snapshot: Snapshot, model: str | None) -> Section:
    """The section; `model` is a completed one, whose file says which versions trained it."""
    settings, problem = read_run_settings(directory.path)
    parts: list[Markup] = []
    if settings is None:
        parts.append(element("p", f"The settings cannot be read: {problem}"))
    else:
        usual = by_full_name(to_plain(Settings()))
        chosen = {key: value for key, value in settings.items() if usual.get(key) != value}
        rest = {key: value for key, value in settings.items() if key not in chosen}
        if chosen:
            parts.append(_table("Settings that are not the default", chosen))
        parts.append(folded(f"The other settings ({len(rest)})", _table("Settings with their defaults", rest)))
    if snapshot.run.command:
        parts.append(element("p", "Command: ", element("code", " ".join(snapshot.run.command))))
    parts.append(element("h3", "Versions, data and code"))
    parts.append(facts(_versions(directory, snapshot, model)))
    return section("settings", "Settings and versions", *parts)


def _table(caption: str, values: Mapping[str, Any]) -> Markup:
    return data_table(caption, ["Setting", "Value"], [(key, value_text(value)) for key, value in values.items()])


def _versions(directory: RunDirectory, snapshot: Snapshot, model: str | None) -> list[tuple[str, str]]:
    info = snapshot.run
    found = [("forge-tui of the run", info.version)] if info.version else []
    found += [(name, str(version)) for name, version in _of_model(directory, model).items() if name != "forge_tui"]
    found += [(f"module {name}", version) for name, version in info.code_modules.items()]
    if info.data is not None:
        rows, digest = info.data.get("rows"), info.data.get("sha256")
        found.append(("data", f"{rows:,} rows, SHA-256 {digest}" if isinstance(rows, int) else f"SHA-256 {digest}"))
    found += [(f"code/{path}", f"SHA-256 {digest}") for path, digest in info.code.items()]
    return found


def _of_model(directory: RunDirectory, model: str | None) -> dict[str, Any]:
    from forge_tui.training.record_file import read_model_record

    if model is None:
        return {}
    try:
        versions = read_model_record(directory.stem(model)).get("versions")
    except RunDirectoryError:
        return {}
    return versions if isinstance(versions, dict) else {}
