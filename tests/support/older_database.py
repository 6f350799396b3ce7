"""Databases as earlier versions wrote them, made of one of today."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from forge_tui.runs import epoch_rows, older_epochs
from forge_tui.runs.tables import EPOCHS_INDEX

_TYPES = dict.fromkeys((*epoch_rows.WHOLE_COLUMNS, "crc"), "INTEGER NOT NULL")
_TYPES |= {"seq": "INTEGER PRIMARY KEY", "time": "REAL NOT NULL", "model": "TEXT NOT NULL"}


def make_older(path: Path, version: int) -> None:
    """Make the database of a run that has ended one of an older format, with what that had of its metrics."""
    older = older_epochs.OLDER[version]
    with closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        rows = [_older(row, older.columns) for row in database.execute(epoch_rows.FORMAT.select)]
        database.execute("DROP TABLE epochs")
        columns = ", ".join(f"{name} {_TYPES.get(name, 'REAL')}" for name in older.columns)
        database.execute(f"CREATE TABLE epochs ({columns})")
        database.executemany(f"INSERT INTO epochs VALUES ({', '.join('?' * len(older.columns))})", rows)
        database.execute(EPOCHS_INDEX)
        if version < 3:
            database.execute("DROP TABLE paths")
        database.execute(f"PRAGMA user_version={version}")
        database.commit()


def _older(row: tuple[Any, ...], columns: tuple[str, ...]) -> list[Any]:
    event, _ = epoch_rows.FORMAT.event(row, epoch_rows.FORMAT.metrics(row))
    own = {"best_loss": event.best_loss, "seconds": event.seconds, "eta_seconds": event.eta_seconds}
    numbers = [own.get(name, event.metrics.get(name)) for name in older_epochs.NUMBERS]
    numbers = [None if value is None or value != value else value for value in numbers]
    crc = older_epochs.row_crc((*row[:8], *numbers, row[-2]))
    values = dict(zip(epoch_rows.WHOLE_COLUMNS, row, strict=False)) | dict(
        zip(older_epochs.NUMBERS, numbers, strict=True)
    )
    values |= {"time": row[7], "model": row[-2].decode(), "crc": crc}
    return [values[name] for name in columns]
