"""Reads run.db for viewers: read-only, in short reads, and without damaged rows."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from forge_tui.analysis.spread import NO_NUMBER, SeedValues, Span, spans
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.metrics import Metrics
from forge_tui.protocol.model_state import Interner, ModelState
from forge_tui.protocol.record_fields import BadField
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import rows, tables
from forge_tui.runs.connection import RunDatabase, database_is_busy
from forge_tui.runs.damage import Damage
from forge_tui.runs.epoch_rows import EPOCH_PLACE, INDEX_PLACE, EpochFormat, Row
from forge_tui.safe_io.printing import named

if TYPE_CHECKING:
    from forge_tui.protocol.events import EpochFinished

_PAGE = 5_000
# A curve of 10,000 epochs takes 80 kB.
_MOST_CURVES = 64
_LOCKED = "is locked by another program; try again, or find that program"
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`count` grows with every transaction of a live runner; `written` is the time of the last one (UNIX seconds).

    `seconds`: the run's age then, by the runner's monotonic clock; None if not measured.
    """

    count: int
    written: float
    seconds: float | None = None


class EpochPage(NamedTuple):
    """Epochs of a model as `(epoch, metrics)`; epochs repeated by a retry appear again.

    `since` is the argument for the next call, at once if there `may_be_more`. `replaces_alone`: a repeated epoch
    replaces only that epoch, not the later ones too.
    """

    epochs: tuple[tuple[int, Metrics], ...]
    since: int
    may_be_more: bool
    replaces_alone: bool = False


class NumberedEpochs(NamedTuple):
    """Epochs with their event numbers, in the order in which they were trained; those repeated by a retry appear again.

    `since` is the argument for the next call, at once if there `may_be_more`.
    """

    epochs: tuple[tuple[int, EpochFinished], ...]
    since: int
    may_be_more: bool


class LastEpoch(NamedTuple):
    """The newest epoch of a model: its event number, its own number and its time (UNIX seconds)."""

    seq: int
    epoch: int
    time: float


@dataclass(slots=True)
class _Curve:
    """The part of a model's curve read so far, up to event number `since`."""

    since: int = 0
    values: SeedValues = field(default_factory=SeedValues)


class RunReader:
    """Read access to a run's database.

    Every call opens the file, reads and closes it, so that viewers never block the runner; calls inside
    `with reader.reading():` share one open file and one moment. While the writer is busy, the last known values are
    returned. Methods raise `RunDirectoryError` if nothing can be read; damaged rows are left out and reported in
    `problems`.
    """

    def __init__(self, path: Path) -> None:
        """`path` is run.db, or the run directory. Raises `RunDirectoryError` if there is no readable run."""
        self._source = RunDatabase(path / "run.db" if os.path.isdir(path) else path)
        self._damage = Damage(self._source.path)
        self._open: sqlite3.Connection | None = None
        self._row: rows.RunRow | None = None
        self._row_is_of_now = False
        self._interner = Interner()
        self._curves: dict[tuple[int, str], _Curve] = {}
        self._run_row()

    @property
    def path(self) -> Path:
        """The database."""
        return self._source.path

    @property
    def _epochs(self) -> EpochFormat:
        """How this database keeps its epochs."""
        return tables.epoch_format(self._source.version)

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read so far, in words."""
        return (*self._source.problems, *self._damage.in_words())

    def close(self) -> None:
        """Close all files."""
        self._source.close()

    def __enter__(self) -> RunReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Make the calls inside see the same moment of the run; keep it short."""
        if self._open is not None:
            yield
            return
        with self._source.connection() as connection:
            self._open, self._row_is_of_now = connection, False
            try:
                connection.execute("BEGIN")
                yield
            finally:
                self._open, self._row_is_of_now = None, False

    def _read(self, read: Callable[[sqlite3.Connection], _Value], unknown: _Value) -> _Value:
        """What `read` returns; `unknown` while the database is locked."""
        try:
            with self.reading():
                assert self._open is not None
                return read(self._open)
        except sqlite3.Error as error:
            if database_is_busy(error):
                return unknown
            raise self._source.in_words(error) from error

    def _run_row(self) -> rows.RunRow:
        def read(connection: sqlite3.Connection) -> rows.RunRow | None:
            found = connection.execute("SELECT record, revision, heartbeat, written, last_seq, crc FROM run").fetchone()
            if found is None:
                raise RunDirectoryError(
                    f"{named(self.path)} is damaged: the record of the run is missing; restore a copy"
                )
            try:
                return rows.run_of(found)
            except rows.ERRORS as error:
                why = rows.why(error)
                what = "does not match its checksum" if why == rows.WRONG_CHECKSUM else f"cannot be right ({why})"
                raise RunDirectoryError(
                    f"{named(self.path)} is damaged: the record of the run {what}; restore a copy"
                ) from None

        if self._row is not None and self._row_is_of_now:
            return self._row  # one `reading` sees one moment
        self._row = self._read(read, self._row)
        self._row_is_of_now = self._open is not None
        if self._row is None:
            raise RunDirectoryError(f"{named(self.path)} {_LOCKED}")
        return self._row

    def info(self) -> RunInfo:
        """The run itself."""
        return self._run_row().info

    def heartbeat(self) -> Heartbeat:
        """The sign of life that the runner writes about every second."""
        row = self._run_row()
        return Heartbeat(row.heartbeat, row.written, row.seconds)

    def models(self, since_revision: int = 0) -> tuple[list[ModelState], int]:
        """The models that changed after `since_revision`, by index, and the revision for the next call."""
        found: list[ModelState] = []

        def read(connection: sqlite3.Connection) -> int:
            newest = self._run_row()
            changed = connection.execute(
                "SELECT model_index, revision, record, crc FROM models WHERE revision > ? ORDER BY model_index",
                (since_revision,),
            )
            for row in changed:
                try:
                    found.append(rows.model_of(row, self._interner, self.path))
                    self._damage.mend("models", row[0])
                except rows.ERRORS as error:
                    self._left_out("models", row[0], error)
            if since_revision == 0 and len(found) < newest.info.models:
                self._damage.missing("models", newest.info.models - len(found) - self._damage.count("models"))
            return newest.revision

        revision = self._read(read, -1)
        return ([], since_revision) if revision < 0 else (found, revision)

    @property
    def version(self) -> int:
        """The format of the database."""
        return self._source.version

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query, text as bytes, without checking checksums. Raises as the other methods."""
        found = self._read(lambda connection: connection.execute(query).fetchall(), None)
        if found is None:
            raise RunDirectoryError(f"{named(self.path)} {_LOCKED}")
        return found

    def events(self, since_seq: int = 0, limit: int = 1_000) -> list[tuple[int, dict[str, Any]]]:
        """Up to `limit` events after `since_seq` as `(seq, record)`, oldest first, epochs included."""

        def read(connection: sqlite3.Connection) -> list[tuple[int, dict[str, Any]]]:
            last_seq, run = self._run_row().last_seq, self._run_row().info.run
            position = since_seq
            found: list[tuple[int, dict[str, Any]]] = []
            # Repeat if all rows of a page are bad: an empty result means that there are no more.
            while not found and position < last_seq:
                position = self._past_gap(connection, position, last_seq)
                end = min(last_seq, position + limit)
                present = self._page(connection, position, end, run, found)
                self._damage.missing_seqs(position, end, present)
                position = end
            return found

        return self._read(read, [])

    def events_of(self, kinds: Collection[str], *, check_epochs: bool = True) -> list[dict[str, Any]]:
        """All events of some kinds, oldest first; of the others, and of epochs, only the checksums are checked.

        Without `check_epochs` only that none is missing: with 500,000 epochs that takes 0.5 s instead of 6.
        """
        words = [f'"event":"{kind}"'.encode() for kind in kinds]
        found: list[dict[str, Any]] = []
        position, end = -1, 0
        while position < end:
            position = end
            end = self._read(partial(self._search, position, words, found, check_epochs), position)
        return [event for event in found if event.get("event") in kinds]

    def _search(
        self,
        after: int,
        words: Sequence[bytes],
        found: list[dict[str, Any]],
        check_epochs: bool,
        connection: sqlite3.Connection,
    ) -> int:
        """Add the good events after number `after` that contain one of `words` to `found`; returns the last number."""
        last_seq = self._run_row().last_seq
        after = self._past_gap(connection, after, last_seq)
        end = min(last_seq, after + _PAGE)
        span, present = (after, end), set()
        events = connection.execute("SELECT seq, record, crc FROM events WHERE seq > ? AND seq <= ? ORDER BY seq", span)
        for row in events:
            present.add(row[0])
            try:
                if any(word in row[1] for word in words):
                    found.append(rows.event_of(row))
                else:
                    rows.is_event(row)
            except rows.ERRORS as error:
                self._left_out("events", row[0], error)
        select = self._epochs.select if check_epochs else "SELECT seq FROM epochs"
        for row in connection.execute(f"{select} WHERE seq > ? AND seq <= ?", span):
            present.add(row[0])
            if check_epochs:
                self._metrics(row)
        self._damage.missing_seqs(after, end, present)
        return end

    def messages(self, since_seq: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        """The newest `limit` events after `since_seq`, oldest first, without epochs; and the newest number."""

        def read(connection: sqlite3.Connection) -> tuple[list[dict[str, Any]], int]:
            last_seq = self._run_row().last_seq
            newest = connection.execute(
                "SELECT seq, record, crc FROM events WHERE seq > ? AND seq <= ? ORDER BY seq DESC LIMIT ?",
                (since_seq, last_seq, limit),
            ).fetchall()
            found = []
            for row in reversed(newest):
                try:
                    found.append(rows.event_of(row))
                except rows.ERRORS as error:
                    self._left_out("events", row[0], error)
            return found, last_seq

        nothing: tuple[list[dict[str, Any]], int] = ([], since_seq)
        return self._read(read, nothing)

    def _past_gap(self, connection: sqlite3.Connection, after: int, last_seq: int) -> int:
        """The number to continue from: `after`, or just before the next row if that is more than a page away.

        A damaged run row may claim any number of events: every page of numbers would be queried.
        """
        if after >= last_seq:
            return after
        nexts = (
            connection.execute(f"SELECT min(seq) FROM {table} WHERE seq > ?", (after,)).fetchone()[0]
            for table in ("events", "epochs")
        )
        following = min((seq for seq in nexts if seq is not None), default=last_seq + 1)
        end = min(following - 1, last_seq)
        if end - after <= _PAGE:
            return after
        self._damage.missing_seqs(after, end, set())
        return end

    def _page(
        self, connection: sqlite3.Connection, after: int, end: int, run: str, found: list[tuple[int, dict[str, Any]]]
    ) -> set[int]:
        """Add the good rows with `after < seq <= end` to `found`, in order; returns the numbers of existing rows."""
        from forge_tui.protocol.events import to_record

        good: dict[int, dict[str, Any]] = {}
        present: set[int] = set()
        span = (after, end)
        for row in connection.execute("SELECT seq, record, crc FROM events WHERE seq > ? AND seq <= ?", span):
            present.add(row[0])
            try:
                good[row[0]] = rows.event_of(row)
            except rows.ERRORS as error:
                self._left_out("events", row[0], error)
        for row in connection.execute(f"{self._epochs.select} WHERE seq > ? AND seq <= ?", span):
            present.add(row[0])
            event = self._epoch(row)
            if event is not None:
                record = to_record(event[0], run)
                if event[1]:
                    record["diverged"] = True
                good[row[0]] = record
        found.extend((seq, good[seq]) for seq in sorted(good))
        return present

    def _left_out(self, table: str, key: Any, error: Exception) -> None:
        self._damage.bad_row(table, key, rows.why(error))

    def _metrics(self, row: Row, index: int | None = None) -> Metrics | None:
        """The metrics of an epoch's row; None if it is damaged or not of model `index` (the index may be damaged)."""
        try:
            metrics = self._epochs.metrics(row)
            if index is not None and row[INDEX_PLACE] != index:
                raise BadField(f"it is indexed under model {index}, but belongs to model {row[INDEX_PLACE]}")
            return metrics
        except rows.ERRORS as error:
            self._left_out("epochs", row[0], error)
            return None

    def _epoch(self, row: Row, index: int | None = None) -> tuple[EpochFinished, bool] | None:
        metrics = self._metrics(row, index)
        return None if metrics is None else self._epochs.event(row, metrics)

    def epochs(self, index: int) -> list[EpochFinished]:
        """The history of model `index`, one record per epoch; of epochs repeated by a retry the newer ones."""
        return [epoch for _, epoch in self.numbered_epochs(index)]

    def numbered_epochs(self, index: int) -> list[tuple[int, EpochFinished]]:
        """As `epochs`, each with its number among all events of the run, which grows with time.

        An epoch that a training function reports again replaces only that epoch, and it may leave epochs out.
        """

        def read(connection: sqlite3.Connection) -> list[tuple[int, EpochFinished]]:
            found: list[tuple[int, EpochFinished]] = []
            if self._has_custom_loop():
                by_epoch: dict[int, tuple[int, EpochFinished]] = {}
                for row in connection.execute(f"{self._epochs.select} WHERE model_index = ? ORDER BY seq", (index,)):
                    if (event := self._epoch(row, index)) is not None:
                        by_epoch[event[0].epoch] = (row[0], event[0])
                return [by_epoch[epoch] for epoch in sorted(by_epoch)]
            for row in connection.execute(f"{self._epochs.select} WHERE model_index = ? ORDER BY seq", (index,)):
                event = self._epoch(row, index)
                if event is None:
                    continue
                while found and found[-1][1].epoch >= event[0].epoch:
                    found.pop()
                found.append((row[0], event[0]))
            gaps = found[-1][1].epoch - found[0][1].epoch + 1 - len(found) if found else 0
            self._damage.missing(f"epochs (model {index})", gaps - self._damage.count("epochs"))
            return found

        return self._read(read, [])

    def _has_custom_loop(self) -> bool:
        return self._run_row().info.has_custom_loop

    def series(self, index: int, metric: str, buckets: int) -> tuple[Span, ...]:
        """A model's curve of a metric for plotting: at most `buckets` spans, as `analysis.spread.spans`.

        Raises `ValueError` for `buckets` < 1.
        """
        if buckets < 1:
            raise ValueError(f"buckets must be at least 1, not {buckets}")
        curve = self._curves.pop((index, metric), None) or _Curve()
        # Least recently used first: that one is dropped.
        self._curves[index, metric] = curve
        if len(self._curves) > _MOST_CURVES:
            del self._curves[next(iter(self._curves))]
        with self.reading():
            while True:
                page = self.epoch_page(index, curve.since, _PAGE)
                for epoch, metrics in page.epochs:
                    curve.values.put(epoch, metrics.get(metric), NO_NUMBER, alone=page.replaces_alone)
                curve.since = page.since
                if not page.may_be_more:
                    return spans(curve.values.values, buckets)

    def epoch_page(self, index: int, since_seq: int, limit: int) -> EpochPage:
        """Up to `limit` of a model's epochs after `since_seq`, in the order in which they were trained."""

        def read(connection: sqlite3.Connection) -> EpochPage:
            page = connection.execute(
                f"{self._epochs.select} WHERE model_index = ? AND seq > ? ORDER BY seq LIMIT ?",
                (index, since_seq, limit),
            ).fetchall()
            read = ((row[EPOCH_PLACE], self._metrics(row, index)) for row in page)
            found = tuple((epoch, metrics) for epoch, metrics in read if metrics is not None)
            alone = self._has_custom_loop()
            return EpochPage(found, page[-1][0] if page else since_seq, len(page) == limit, alone)

        return self._read(read, EpochPage((), since_seq, False))

    def epochs_after(self, since_seq: int, limit: int, index: int | None = None) -> NumberedEpochs:
        """Up to `limit` epochs after `since_seq`, of all models or of model `index`."""
        where, of = ("", ()) if index is None else ("model_index = ? AND ", (index,))

        def read(connection: sqlite3.Connection) -> NumberedEpochs:
            page = connection.execute(
                f"{self._epochs.select} WHERE {where}seq > ? ORDER BY seq LIMIT ?", (*of, since_seq, limit)
            ).fetchall()
            found = ((row[0], self._epoch(row, index)) for row in page)
            epochs = tuple((seq, event[0]) for seq, event in found if event is not None)
            return NumberedEpochs(epochs, page[-1][0] if page else since_seq, len(page) == limit)

        return self._read(read, NumberedEpochs((), since_seq, False))

    def last_epochs(self) -> dict[int, LastEpoch]:
        """The newest epoch of each model, by index; checksums are not checked."""

        def read(connection: sqlite3.Connection) -> dict[int, LastEpoch]:
            newest = connection.execute("SELECT model_index, max(seq), epoch, time FROM epochs GROUP BY model_index")
            return {index: LastEpoch(seq, epoch, time) for index, seq, epoch, time in newest}

        return self._read(read, {})

    def resources(self, since_seq: int = 0, limit: int = 10_000) -> list[tuple[int, dict[str, Any]]]:
        """Up to `limit` resource samples after `since_seq` as `(seq, record)`, oldest first."""

        def read(connection: sqlite3.Connection) -> list[tuple[int, dict[str, Any]]]:
            found = []
            for row in connection.execute(
                "SELECT seq, time, record, crc FROM resources WHERE seq > ? ORDER BY seq LIMIT ?", (since_seq, limit)
            ):
                try:
                    found.append((row[0], rows.sample_of(row)))
                except rows.ERRORS as error:
                    self._left_out("resources", row[0], error)
            return found

        return self._read(read, [])
