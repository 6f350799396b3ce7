"""One transaction of run.db: turns the records since the last one into rows."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forge_tui.protocol.events import EpochFinished, Event, finite, to_record
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import epoch_rows, rows, tables
from forge_tui.runs.epoch_rows import EpochFormat
from forge_tui.runs.own_paths import OwnPath, own_paths
from forge_tui.runs.record import directories_of_older


@dataclass(frozen=True, slots=True)
class Batch:
    """Records to write together: events in order, the newest state of models and run, resource samples."""

    events: Sequence[Event]
    models: Sequence[ModelState]
    run: RunInfo | None
    samples: Sequence[Mapping[str, Any]]

    @property
    def is_empty(self) -> bool:
        """Whether only the heartbeat would change."""
        return not (self.events or self.models or self.run or self.samples)


@dataclass(frozen=True, slots=True)
class Position:
    """The database's position: the last numbers assigned, and the run's record."""

    run: bytes
    run_id: str = ""
    last_seq: int = 0
    last_sample: int = 0
    revision: int = 0
    heartbeat: int = 0


def read_position(connection: sqlite3.Connection) -> Position:
    """The position of a database. Raises `sqlite3.Error`, and `ValueError` if its run row is damaged."""
    row = connection.execute("SELECT record, revision, heartbeat, written, last_seq, crc FROM run").fetchone()
    if row is None:
        raise ValueError("the row of the run is missing")
    record = row[0].encode() if isinstance(row[0], str) else row[0]
    if tables.run_crc(record, *row[1:5]) != row[5]:
        raise ValueError("the row of the run is damaged")
    tables.check_run(*row[1:5])
    _, revision, heartbeat, _, last_seq, _ = row
    newest = "SELECT max(coalesce((SELECT max(seq) FROM events), 0), coalesce((SELECT max(seq) FROM epochs), 0))"
    last_sample = connection.execute("SELECT coalesce(max(seq), 0) FROM resources").fetchone()[0]
    info, _seconds = tables.without_seconds(tables.from_json(record))
    return Position(
        run=tables.to_json(info),
        run_id=str(info["run"]),
        last_seq=max(last_seq, connection.execute(newest).fetchone()[0]),
        last_sample=last_sample,
        revision=revision,
        heartbeat=heartbeat,
    )


def write_batch(
    connection: sqlite3.Connection, batch: Batch, position: Position, now: float, seconds: float | None = None
) -> Position:
    """Write the batch and raise the heartbeat in one transaction; `now` (UNIX seconds) becomes `written`.

    `seconds`: the age of the run, stored beside its record.
    If it raises `sqlite3.Error`, nothing is written.
    """
    if batch.run is not None:
        position = replace(position, run=tables.to_json(batch.run.to_record()), run_id=batch.run.run)
    epochs, events, seq = _rows_of(batch.events, position)
    revision = position.revision + (0 if batch.is_empty else 1)
    models = []
    for model in batch.models:
        record = tables.to_json(model.to_record())
        models.append((model.index, revision, record.decode(), tables.model_crc(model.index, revision, record)))
    samples = []
    for number, sample in enumerate(batch.samples, position.last_sample + 1):
        record, taken = tables.to_json(finite(dict(sample))), float(sample.get("time", now))
        samples.append((number, taken, record.decode(), tables.resource_crc(number, taken, record)))
    position = replace(
        position,
        last_seq=seq,
        last_sample=position.last_sample + len(samples),
        revision=revision,
        heartbeat=position.heartbeat + 1,
    )
    _commit(connection, epochs, events, models, samples, position, tables.with_seconds(position.run, seconds), now)
    return position


def put_paths(connection: sqlite3.Connection, paths: Iterable[OwnPath]) -> None:
    """Record paths that the run has created; existing records stay."""
    rows = ((one.path, int(one.is_directory), tables.path_crc(one.path.encode(), one.is_directory)) for one in paths)
    connection.executemany("INSERT OR IGNORE INTO paths (path, directory, crc) VALUES (?, ?, ?)", rows)


def bring_up_to_date(connection: sqlite3.Connection, version: int, path: Path, directories: Iterable[str]) -> None:
    """Migrate a database of an older format to this one, in one transaction.

    Damaged rows of epochs are left out; viewers report the gaps in their numbers as missing rows.

    `directories`: those that the run in `path` has made since.
    """
    made = list(directories)
    if version == tables.VERSION and not made:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version < tables.WITH_METRICS:
            _rewrite_epochs(connection, tables.epoch_format(version))
        if version < tables.WITH_PATHS:
            connection.execute(tables.PATHS_TABLE)
            made += directories_of_older(path)
        put_paths(connection, own_paths(made))
        connection.execute(f"PRAGMA user_version={tables.VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _rewrite_epochs(connection: sqlite3.Connection, older: EpochFormat) -> None:
    """Rewrite the table of epochs in this format."""
    connection.execute("ALTER TABLE epochs RENAME TO epochs_before")
    connection.execute("DROP INDEX epochs_by_model")
    connection.execute(epoch_rows.EPOCHS_TABLE)
    select = older.select.replace("FROM epochs", "FROM epochs_before ORDER BY seq")
    connection.executemany(_PUT_EPOCH, _rewritten(connection, select, older))
    connection.execute("DROP TABLE epochs_before")
    connection.execute(tables.EPOCHS_INDEX)


def _rewritten(connection: sqlite3.Connection, select: str, older: EpochFormat) -> Iterator[tuple[Any, ...]]:
    """The rows of `select` in this format, without damaged ones."""
    cursor = connection.cursor()
    for row in cursor.execute(select):
        row = (*row[:-2], row[-2].encode() if isinstance(row[-2], str) else row[-2], row[-1])
        try:
            event, _ = older.event(row, older.metrics(row))
            yield epoch_rows.epoch_row(row[0], event)
        except rows.ERRORS:
            continue


def _rows_of(happened: Sequence[Event], position: Position) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], int]:
    """The rows of `epochs` and of `events`, and the last `seq` assigned."""
    epochs: list[tuple[Any, ...]] = []
    events: list[tuple[Any, ...]] = []
    seq = position.last_seq
    for event in happened:
        seq += 1
        if type(event) is EpochFinished:
            try:
                epochs.append(epoch_rows.epoch_row(seq, event))
                continue
            except (ValueError, TypeError, OverflowError, struct.error):
                pass  # does not fit the columns: kept as JSON
        record = tables.to_json(to_record(event, position.run_id))
        events.append((seq, record.decode(), tables.event_crc(seq, record)))
    return epochs, events, seq


_PUT_EPOCH = f"INSERT INTO epochs ({', '.join(epoch_rows.COLUMNS)}) VALUES ({', '.join('?' * len(epoch_rows.COLUMNS))})"
_PUT_MODEL = "INSERT OR REPLACE INTO models (model_index, revision, record, crc) VALUES (?, ?, ?, ?)"
_PUT_RUN = (
    "INSERT OR REPLACE INTO run (id, record, revision, heartbeat, written, last_seq, crc) VALUES (1, ?, ?, ?, ?, ?, ?)"
)


def _commit(
    connection: sqlite3.Connection,
    epochs: list[tuple[Any, ...]],
    events: list[tuple[Any, ...]],
    models: list[tuple[Any, ...]],
    samples: list[tuple[Any, ...]],
    position: Position,
    record: bytes,
    now: float,
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(_PUT_EPOCH, epochs)
        connection.executemany("INSERT INTO events (seq, record, crc) VALUES (?, ?, ?)", events)
        connection.executemany(_PUT_MODEL, models)
        connection.executemany("INSERT INTO resources (seq, time, record, crc) VALUES (?, ?, ?, ?)", samples)
        numbers = (position.revision, position.heartbeat, now, position.last_seq)
        connection.execute(_PUT_RUN, (record.decode(), *numbers, tables.run_crc(record, *numbers)))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
