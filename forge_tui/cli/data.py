"""Show what is in a table: `data`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.safe_io.printing import answer, named, say

if TYPE_CHECKING:
    from forge_tui.protocol.table_look import TableLook


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the file and all settings, of which those of `[data]` say how it is read."""
    from forge_tui.settings.flags import add_flags, add_source_flags

    parser.add_argument("file", metavar="FILE", help="a table: .csv, .tsv, .parquet, .arrow, .feather, .jsonl, .xlsx")
    add_source_flags(parser)
    add_flags(parser)


def run(arguments: argparse.Namespace, name: str) -> int:
    """Read the table, or a sample of a large one, and print its columns."""
    from forge_tui.settings.flags import resolve_arguments
    from forge_tui.tables.look import look_at

    settings = resolve_arguments(arguments).settings
    path = Path(arguments.file).expanduser()
    found = look_at(path, settings.data)
    if settings.run.json:
        print(json.dumps(found.to_record()))
    else:
        _tell(path, found)
    return 0


def _tell(path: Path, found: TableLook) -> None:
    from forge_tui.text.table_lines import format_line, summary_table, target_line

    rows = f"{found.rows:,} rows" if found.sample is None else f"a sample: {found.sample}"
    answer(f"{named(path)}: {rows}, {len(found.columns):,} columns.")
    line = format_line(found.format)
    if line is not None:
        answer(line)
    if found.problem is not None:
        say(f"warning: {found.problem}")
    elif found.target is not None:
        answer(target_line(found.to_record()))
    answer(summary_table(found.columns).rstrip("\n"))
