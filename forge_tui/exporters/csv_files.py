"""A run as two tables that grow with it: `epochs.csv` and `models.csv`."""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from forge_tui.client.frames import EPOCH_COLUMNS, METRIC, metric_column, models_frame
from forge_tui.errors import ForgeError
from forge_tui.exporters.courses import Mark, Marks
from forge_tui.exporters.output import OutputDirectory, cannot_write
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import write_atomically, write_parts_atomically

if TYPE_CHECKING:
    from forge_tui.protocol.events import EpochFinished
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.snapshot import Snapshot

_FIRST = ("run", *EPOCH_COLUMNS)
_INDEX, _EPOCH, _TIME = _FIRST.index("index"), _FIRST.index("epoch"), _FIRST.index("time")
# Rows that are rewritten at a time.
_PIECE = 10_000


class CsvFiles:
    """Two tables in an `OutputDirectory`.

    `epochs.csv` has a row per epoch of each model. Rows and columns are added at its end; where epochs are replaced or
    columns are added, the file is replaced by a new one. `models.csv` has a row per model, and is replaced when
    something in it has changed.
    """

    def __init__(self, output: OutputDirectory, run: str) -> None:
        """Raises `ForgeError` if a table cannot be read."""
        self._output, self._run = output, run
        self._epochs = output.path / "epochs.csv"
        self._models = output.path / "models.csv"
        self._columns: tuple[str, ...] = ()
        self._marks: dict[int, Marks] = {}
        self._new: list[EpochFinished] = []
        # By model, the first epoch that is replaced.
        self._replaced: dict[int, int] = {}
        self._is_whole = self._read_marks()

    @property
    def place(self) -> str:
        """The directory."""
        return str(self._output.path)

    @property
    def hint(self) -> str:
        """How to look at it."""
        return f"{self._epochs.name} has a row per epoch, {self._models.name} one per model"

    def marks(self, model: ModelState) -> Collection[Mark]:
        """As `Target.marks`."""
        return self._marks.get(model.index, ())

    def can_add(self, model: ModelState) -> bool:
        """As `Target.can_add`."""
        return True

    def add(self, model: ModelState, epochs: Sequence[EpochFinished], last: Mark) -> None:
        """As `Target.add`; `describe` writes them."""
        self._new += epochs
        marks = self._marks.setdefault(model.index, Marks())
        for epoch in epochs:
            marks.put(Mark.of(epoch))

    def replace(self, model: ModelState, first: int, history: Sequence[EpochFinished], last: Mark) -> None:
        """As `Target.replace`; `describe` writes them."""
        self._replaced[model.index] = min(first, self._replaced.get(model.index, first))
        self._new = [epoch for epoch in self._new if epoch.index != model.index or epoch.epoch < first]
        self._marks.setdefault(model.index, Marks()).discard_from(first)
        self.add(model, [epoch for epoch in history if epoch.epoch >= first], last)

    def describe(self, snapshot: Snapshot, models: Sequence[ModelState]) -> None:
        """Write what has come, and the models."""
        try:
            self._write_epochs()
            if models:
                table = models_frame(snapshot).write_csv().encode("utf-8", "replace")
                if not self._models.exists() or self._models.read_bytes() != table:
                    write_atomically(self._models, table, 0o666)
        except OSError as error:
            if isinstance(error, ForgeError):
                raise
            raise cannot_write(error, self._epochs) from error

    def close(self) -> None:
        """As `Target.close`."""
        self._output.close()

    def _write_epochs(self) -> None:
        columns = dict.fromkeys((*self._columns, *(name for epoch in self._new for name in epoch.metrics)))
        if self._replaced or len(columns) > len(self._columns) or not self._is_whole:
            before, self._columns = self._columns, tuple(columns)
            write_parts_atomically(self._epochs, self._rewritten(len(before)), 0o666)
            self._is_whole, self._replaced = True, {}
        elif self._new:
            self._append(self._lines(self._new))
        self._new = []

    def _append(self, data: bytes) -> None:
        descriptor = os.open(self._epochs, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._is_whole = False  # until all of it is written
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            self._is_whole = True
        finally:
            os.close(descriptor)

    def _rewritten(self, before: int) -> Iterator[bytes]:
        """The table with all columns, of which it had `before` metrics, and without what is replaced."""
        out = io.StringIO(newline="")
        csv.writer(out).writerow((*_FIRST, *(metric_column(name, _FIRST) for name in self._columns)))
        yield out.getvalue().encode("utf-8", "replace")
        more = [""] * (len(self._columns) - before)
        rows = self._rows()
        while piece := list(itertools.islice(rows, _PIECE)):
            out = io.StringIO(newline="")
            csv.writer(out).writerows(
                (*row, *more) for row in piece if int(row[_EPOCH]) < self._replaced.get(int(row[_INDEX]), math.inf)
            )
            yield out.getvalue().encode("utf-8", "replace")
        yield self._lines(self._new)

    def _lines(self, epochs: Sequence[EpochFinished]) -> bytes:
        out = io.StringIO(newline="")
        writer = csv.writer(out)
        for epoch in epochs:
            values = (*(getattr(epoch, column) for column in EPOCH_COLUMNS), *map(epoch.metrics.get, self._columns))
            writer.writerow((self._run, *("" if value is None else value for value in values)))
        return out.getvalue().encode("utf-8", "replace")

    def _rows(self) -> Iterator[list[str]]:
        """The whole rows of the table; what a killed export has left of a last one is left out."""
        if not self._epochs.exists():
            return
        with self._epochs.open(encoding="utf-8", errors="replace", newline="") as file:
            lines = (line for line in file if line.endswith("\n"))
            rows = csv.reader(lines)
            next(rows, None)
            yield from rows

    def _read_marks(self) -> bool:
        """Read the columns, and which epochs are there; returns whether the last row is whole."""
        try:
            with self._epochs.open("rb") as file:
                head = file.readline()
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                is_whole = file.read() == b"\n"
            names = next(csv.reader([head.decode("utf-8", "replace")]), [])
            if tuple(names[: len(_FIRST)]) != _FIRST:
                raise self._damaged()
            self._columns = tuple(name.removeprefix(METRIC) for name in names[len(_FIRST) :])
            for row in self._rows():
                mark = Mark(int(row[_EPOCH]), float(row[_TIME]))
                self._marks.setdefault(int(row[_INDEX]), Marks()).put(mark)
        except FileNotFoundError:
            return False
        except OSError as error:
            if isinstance(error, ForgeError):
                raise
            raise cannot_write(error, self._epochs) from error
        except (IndexError, ValueError, csv.Error):
            raise self._damaged() from None
        return is_whole

    def _damaged(self) -> ForgeError:
        return ForgeError(f"{named(self._epochs)} was changed or is damaged; delete it, and export again")
