"""A look at a table: its columns with their kinds and values, the target, and what a run would make of them."""

from __future__ import annotations

from pathlib import Path

from forge_tui.errors import DataError
from forge_tui.protocol.table_look import TableLook
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.read import check_table_file
from forge_tui.tables.sample import Sample, read_sample
from forge_tui.tables.split_method import split_in_words
from forge_tui.tables.summary import summarise


def look_at(path: Path, data: DataSettings) -> TableLook:
    """Read a table, or a sample of a large one, and summarise it. Raises `DataError`."""
    sample = _read(path, data)
    found = summarise(sample.table, data)
    written = sample.table.format
    report = None
    if found.study is not None:
        report = found.study.report(split_in_words(sample.table, data, found.study.target.classes is not None))
    return TableLook(
        file=str(path),
        rows=found.rows,
        sample=sample.part,
        format=None if written is None else written.to_record(),
        target=found.target,
        problem=found.problem,
        task_reason=None if report is None else report.task_reason,
        class_names=None if report is None else report.class_names,
        rows_left_out=None if report is None else report.rows_left_out,
        split=None if report is None else report.split,
        columns=found.columns,
    )


def _read(path: Path, data: DataSettings) -> Sample:
    check_table_file(path)
    try:
        return read_sample(path, data)
    except OSError as error:
        raise DataError(f"{named(path)} cannot be read: {error.strerror or error}") from None
