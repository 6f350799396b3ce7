"""Show what is in a table: `data`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import answer, named, say

if TYPE_CHECKING:
    from forge_tui.settings.schema import DataSettings
    from forge_tui.tables.sample import Sample
    from forge_tui.tables.summary import TableSummary


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the file and all settings, of which those of `[data]` say how it is read."""
    from forge_tui.settings.flags import add_flags, add_source_flags

    parser.add_argument("file", metavar="FILE", help="a table: .csv, .tsv, .parquet, .arrow, .feather, .jsonl, .xlsx")
    add_source_flags(parser)
    add_flags(parser)


def run(arguments: argparse.Namespace, name: str) -> int:
    """Read the table, or a sample of a large one, and print its columns."""
    from forge_tui.settings.flags import resolve_arguments
    from forge_tui.tables.summary import summarise

    settings = resolve_arguments(arguments).settings
    path = Path(arguments.file).expanduser()
    sample = _read(path, settings.data)
    found = summarise(sample.table, settings.data)
    if settings.run.json:
        print(json.dumps(_record(path, sample, found)))
    else:
        _tell(path, sample, found)
    return 0


def _read(path: Path, data: DataSettings) -> Sample:
    from forge_tui.tables.read import check_table_file
    from forge_tui.tables.sample import read_sample

    check_table_file(path)
    try:
        return read_sample(path, data)
    except OSError as error:
        raise DataError(f"{named(path)} cannot be read: {error.strerror or error}") from None


def _record(path: Path, sample: Sample, found: TableSummary) -> dict[str, Any]:
    of_target = None if found.study is None else found.study.report("").to_record()
    names = ("task_reason", "class_names", "rows_left_out")
    return {
        "file": str(path),
        "rows": found.rows,
        "sample": sample.part,
        "format": _format(sample),
        "target": found.target,
        "problem": found.problem,
        **{name: None if of_target is None else of_target[name] for name in names},
        "columns": [column.to_record() for column in found.columns],
    }


def _format(sample: Sample) -> dict[str, Any] | None:
    written = sample.table.format
    return None if written is None else written.to_record()


def _tell(path: Path, sample: Sample, found: TableSummary) -> None:
    from forge_tui.text.table_lines import format_line, summary_table, target_line

    rows = f"{found.rows:,} rows" if sample.part is None else f"a sample: {sample.part}"
    answer(f"{named(path)}: {rows}, {len(found.columns):,} columns.")
    line = format_line(_format(sample))
    if line is not None:
        answer(line)
    if found.study is not None:
        answer(target_line(found.study.report("").to_record()))
    elif found.problem is not None:
        say(f"warning: {found.problem}")
    answer(summary_table([column.to_record() for column in found.columns]).rstrip("\n"))
