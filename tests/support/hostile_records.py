"""Changes to a run's records that keep them well-formed, checksums and all, and make them say what no run writes."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forge_tui.runs import epoch_rows, tables

LONG = "x" * (20 << 20)
STEERING = "\x1b]0;HOSTILE\x07\x1b[2J\u202ehostile\u2066\x9b31m\r\n\x00"
"""Text that would set a terminal's title, clear it, and turn its writing."""
BIG = 10**18
Change = Callable[[Path], object]


def run_record(run: Path, /, text: bytes | None = None, numbers: tuple[Any, ...] = (), **changes: Any) -> None:
    """Change the record of the run, or put another `text` there; `numbers`: other revision, heartbeat, written, seq."""
    with _database(run) as database:
        row = database.execute("SELECT record, revision, heartbeat, written, last_seq FROM run").fetchone()
        record = text if text is not None else _json({**json.loads(row[0]), **changes})
        values = numbers or row[1:]
        try:
            crc = tables.run_crc(record, *values)
        except Exception:
            crc = 0
        database.execute(
            "UPDATE run SET record = ?, revision = ?, heartbeat = ?, written = ?, last_seq = ?, crc = ?",
            (record.decode("utf-8", "surrogateescape") if _is_text(record) else record, *values, crc),
        )


def model_record(run: Path, /, text: bytes | None = None, row: int | None = None, **changes: Any) -> None:
    """Change the record of the first model, or put another `text` there; `row`: another number of it."""
    with _database(run) as database:
        index, revision, before = database.execute("SELECT model_index, revision, record FROM models").fetchone()
        record = text if text is not None else _json({**json.loads(before), **changes})
        number = index if row is None else row
        values = (number, revision, record.decode() if _is_text(record) else record)
        database.execute("DELETE FROM models WHERE model_index = ?", (index,))
        database.execute(
            "INSERT INTO models VALUES (?, ?, ?, ?)", (*values, tables.model_crc(number, revision, record))
        )


def event_record(run: Path, /, text: bytes | None = None, **record: Any) -> None:
    """Put another event in the place of the newest one that is no epoch."""
    with _database(run) as database:
        seq = database.execute("SELECT max(seq) FROM events").fetchone()[0]
        content = text if text is not None else _json({"v": 1, "time": 1.0, "run": "run", **record})
        database.execute(
            "UPDATE events SET record = ?, crc = ? WHERE seq = ?",
            (content.decode() if _is_text(content) else content, tables.event_crc(seq, content), seq),
        )


def epoch_row(run: Path, /, **changes: Any) -> None:
    """Change the first row of epochs; its checksum is right if one can be made."""
    with _database(run) as database:
        columns = epoch_rows.COLUMNS
        found = database.execute(f"SELECT {', '.join(columns)} FROM epochs").fetchone()
        row = dict(zip(columns, found, strict=True))
        seq = row["seq"]
        row |= changes
        values = [row[name] for name in columns[:-1]]
        try:
            crc = epoch_rows.row_crc(tuple(value.encode() if isinstance(value, str) else value for value in values))
        except Exception:
            crc = 0
        places = ", ".join(f"{name} = ?" for name in columns)
        database.execute(f"UPDATE epochs SET {places} WHERE seq = ?", (*values, crc, seq))


def sample_record(run: Path, /, **record: Any) -> None:
    """Add a resource sample."""
    with _database(run) as database:
        seq = database.execute("SELECT coalesce(max(seq), 0) + 1 FROM resources").fetchone()[0]
        content = _json({"time": 1.0, **record})
        database.execute(
            "INSERT INTO resources VALUES (?, ?, ?, ?)",
            (seq, 1.0, content.decode(), tables.resource_crc(seq, 1.0, content)),
        )


def path_row(run: Path, path: str, directory: int = 0) -> None:
    """Record a path as one that the run has made."""
    with _database(run) as database:
        crc = tables.path_crc(path.encode(), directory)
        database.execute("INSERT OR REPLACE INTO paths VALUES (?, ?, ?)", (path, directory, crc))


def statements(run: Path, *texts: str) -> None:
    """Change the database by SQL."""
    with _database(run) as database:
        for text in texts:
            database.execute(text)


def json_file(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; `config__model_type` is that of a table in it."""
    record = json.loads(path.read_bytes())
    for name, value in changes.items():
        place = record
        *tables, key = name.split("__")
        for table in tables:
            place = place[table]
        place[key] = value
    path.write_bytes(_json(record))


def in_place_of(path: Path, content: bytes | None = None, **how: Any) -> None:
    """Put something else where a file or a directory is: `link`, `fifo`, `directory`, or other content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if "link" in how:
        path.symlink_to(how["link"])
    elif how.get("fifo"):
        import os

        os.mkfifo(path)
    elif how.get("directory"):
        (path / "inner").mkdir(parents=True)
    else:
        path.write_bytes(content or b"")


class _database:
    def __init__(self, run: Path) -> None:
        self._connection = sqlite3.connect(run / "run.db")
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1 << 30)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *error: object) -> None:
        self._connection.commit()
        self._connection.close()


def _json(record: Any) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")


def _is_text(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


NESTED = b'{"event":"decision","time":1.0,"kind":' + b"[" * 100_000 + b"]" * 100_000 + b',"reason":"x"}'
RUNS: dict[str, Change] = {
    "models 10^18": lambda run: run_record(run, models=BIG),
    "models 10^9": lambda run: run_record(run, models=10**9),
    "epochs 10^12": lambda run: run_record(run, epochs=10**12),
    "workers 10^18": lambda run: run_record(run, workers=BIG, threads=BIG, fuse=BIG),
    "created 10^18": lambda run: run_record(run, created=1e18),
    "negative": lambda run: run_record(run, models=-1, epochs=-1, workers=-1),
    "unknown state": lambda run: run_record(run, state="hostile"),
    "long text": lambda run: run_record(run, reason=LONG),
    "steering text": lambda run: run_record(
        run, reason=STEERING, mode=STEERING, model_type=STEERING, limit_reason=STEERING, limit_hint=STEERING,
        host=STEERING, user=STEERING, version=STEERING,
    ),
    "recorded as live": lambda run: run_record(run, state="running", finished=None, host=STEERING),
    "wrong types": lambda run: run_record(run, models="3", epochs=[1], reason={"a": 1}, created="now"),
    "a list": lambda run: run_record(run, text=b"[1,2,3]"),
    "NaN": lambda run: run_record(run, text=b'{"models":NaN}'),
    "infinity": lambda run: run_record(run, text=b'{"run":"r","created":1e999}'),
    "digits": lambda run: run_record(run, text=b'{"models":' + b"9" * 5_000 + b"}"),
    "nested": lambda run: run_record(run, text=b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "no UTF-8": lambda run: run_record(run, text=b'{"run":"\xff\xfe"}'),
    "last event 10^15": lambda run: run_record(run, numbers=(1, 1, 1.0, 10**15)),
    "numbers 2^62": lambda run: run_record(run, numbers=(2**62, 2**62, 1.0, 2**62)),
    "written 1e300": lambda run: run_record(run, numbers=(1, 1, 1e300, 1)),
    "numbers of text": lambda run: run_record(run, numbers=("a", b"b", "c", "d")),
    "code elsewhere": lambda run: run_record(run, code={"../../guard/mine.py": "0"}, code_roots={"..": "/"}),
    "code of no kind": lambda run: run_record(run, code=["a"], code_roots=7),
    "data of no kind": lambda run: run_record(run, data={"sha256": 7, "rows": -1}),
    "no working directory": lambda run: run_record(run, working_directory="/a\0b" + STEERING),
    "another path": lambda run: run_record(run, path=str(run.parent / "guard"), run="../guard"),
}  # fmt: skip
MODELS: dict[str, Change] = {
    "name ../": lambda run: model_record(run, name="../guard/mine"),
    "name from the root": lambda run: model_record(run, name=str(run.parent / "guard" / "mine")),
    "group ../": lambda run: model_record(run, group=["../guard/mine", "b"]),
    "steering text": lambda run: model_record(
        run, reason=STEERING, device=STEERING, path=STEERING, config={"metric": STEERING, STEERING: STEERING},
        combination={STEERING: STEERING}, phase="cancelled",
    ),
    "epochs 10^12": lambda run: model_record(run, epochs=10**12),
    "epoch 10^18": lambda run: model_record(run, epoch=BIG, step=BIG, checkpoint_step=BIG),
    "numbers 1e308": lambda run: model_record(
        run, phase="training", best_loss=-1e308, epoch_seconds=1e22, eta_seconds=1e22, seconds=1e22, active_since=-1e22,
        metrics={"loss": 1e308, "validation_loss": 1e308, "learning_rate": 1e308, "steps_per_second": 1e308},
    ),
    "durations 1e308": lambda run: model_record(run, phase="training", eta_seconds=1e308, epoch_seconds=1e308),
    "started 1e18": lambda run: model_record(run, started=1e18, finished=-1e18),
    "wrong types": lambda run: model_record(
        run, metrics={"loss": "low"}, epoch=None, trend=[[1]], group="x", failures=7
    ),
    "unknown phase": lambda run: model_record(run, phase="hostile"),
    "long trend": lambda run: model_record(run, trend=[0.5] * 1_000_000),
    "long text": lambda run: model_record(run, reason=LONG),
    "accuracy 7": lambda run: model_record(run, metrics={"validation_accuracy": 7.0}),
    "failures": lambda run: model_record(
        run, phase="failed",
        failures=[{"model": STEERING, "index": 1, "attempt": 1, "kind": STEERING, "message": STEERING,
                   "traceback": STEERING * 1_000, "time": 1e18, "epoch": BIG}],
    ),
    "steering failures": lambda run: model_record(
        run, phase="failed",
        failures=[{"model": "m", "index": 1, "attempt": 1, "kind": STEERING, "message": STEERING,
                   "traceback": STEERING * 1_000, "time": 1.0, "epoch": 1}],
    ),
    "many failures": lambda run: model_record(run, failures=[{"a": 1}] * 100_000),
    "row 10^18": lambda run: model_record(run, row=BIG, index=BIG),
    "row of another": lambda run: model_record(run, row=99),
    "config nested": lambda run: model_record(
        run, text=b'{"name":"m","config":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001
    ),
    "not JSON": lambda run: model_record(run, text=b"\xff\x00hostile"),
}  # fmt: skip
EPOCHS: dict[str, Change] = {
    "epoch 10^18": lambda run: epoch_row(run, epoch=BIG, epochs=BIG, step=BIG),
    "model 10^18": lambda run: epoch_row(run, model_index=BIG),
    "negative": lambda run: epoch_row(run, epoch=-BIG, step=-1),
    "loss 1e308": lambda run: epoch_row(run, metrics='{"loss":1e308,"validation_loss":-1e308,"own":1e308}'),
    "time 1e300": lambda run: epoch_row(run, time=1e300),
    "loss of text": lambda run: epoch_row(run, metrics='{"loss":"low"}'),
    "metrics nested": lambda run: epoch_row(run, metrics='{"loss":' + "[" * 10_000 + "]" * 10_000 + "}"),
    "metrics no JSON": lambda run: epoch_row(run, metrics="hostile"),
    "metrics a list": lambda run: epoch_row(run, metrics="[1,2]"),
    "metrics NaN": lambda run: epoch_row(run, metrics='{"loss":NaN}'),
    "metrics true": lambda run: epoch_row(run, metrics='{"loss":true}'),
    "metrics digits": lambda run: epoch_row(run, metrics='{"loss":' + "9" * 5_000 + "}"),
    "many metrics": lambda run: epoch_row(run, metrics=json.dumps({f"m{n}": 1.0 for n in range(1_000)})),
    "long metrics": lambda run: epoch_row(run, metrics=json.dumps({"m" * 1_000_000: 1.0})),
    "steering metrics": lambda run: epoch_row(run, metrics=json.dumps({STEERING: 1.0})),
    "accuracy 7": lambda run: epoch_row(run, metrics='{"validation_accuracy":7.0}'),
    "blobs": lambda run: epoch_row(run, model=b"\xff\xfe", attempt=b"\x00"),
    "seq 2^62": lambda run: epoch_row(run, seq=2**62),
    "long name": lambda run: epoch_row(run, model=LONG),
}
EVENTS: dict[str, Change] = {
    "unknown kind": lambda run: event_record(run, event="hostile", reason=STEERING),
    "steering text": lambda run: event_record(run, event="decision", kind="hold", reason=STEERING),
    "steering failure": lambda run: event_record(
        run, event="model_failed", model=STEERING, index=1, attempt=1, kind=STEERING, message=STEERING,
        traceback=STEERING,
    ),
    "fields missing": lambda run: event_record(run, event="model_failed"),
    "wrong types": lambda run: event_record(run, event="decision", kind={"a": 1}, reason=[1], time="now"),
    "numbers of text": lambda run: event_record(
        run, event="model_started", model="m", index=1, attempt=1, config={}, seed="s", parameters="p", worker=1,
        device="cpu", threads="t",
    ),
    "time 1e18": lambda run: event_record(run, event="decision", kind="hold", reason="x", time=1e18),
    "long text": lambda run: event_record(run, event="resource_warning", kind="x", message=LONG),
    "nested": lambda run: event_record(run, text=NESTED),
    "a number": lambda run: event_record(run, text=b"7"),
}  # fmt: skip
SAMPLES: dict[str, Change] = {
    "numbers 1e308": lambda run: [sample_record(run, cpu_percent=1e308, memory_used=1e308) for _ in range(3)],
    "texts": lambda run: sample_record(run, cpu_percent=STEERING, gpus=STEERING, memory_limit=[1]),
    "time of text": lambda run: sample_record(run, time="now"),
}
PATHS: dict[str, Change] = {
    "../guard": lambda run: path_row(run, "../guard/mine.txt"),
    "from the root": lambda run: path_row(run, str(run.parent / "guard" / "mine.txt")),
    "directory ../guard": lambda run: path_row(run, "../guard", 1),
    "long": lambda run: path_row(run, "a/" * 5_000_000),
}
SCHEMA: dict[str, Change] = {
    "view for events": lambda run: statements(
        run, "DROP TABLE events", "CREATE VIEW events AS SELECT 1 AS seq, '{}' AS record, 0 AS crc"
    ),
    "endless view": lambda run: statements(
        run,
        "DROP TABLE resources",
        "CREATE VIEW resources AS WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n) "
        "SELECT seq, 1.0 AS time, '{}' AS record, 0 AS crc FROM n",
    ),
    "another view": lambda run: statements(run, "CREATE VIEW mine AS SELECT * FROM run"),
    "trigger": lambda run: statements(
        run,
        "CREATE TRIGGER t AFTER INSERT ON models BEGIN DELETE FROM models WHERE model_index <> NEW.model_index; END",
    ),
    "computed column": lambda run: statements(run, "ALTER TABLE events ADD COLUMN more AS (record || record)"),
    "index of an expression": lambda run: statements(run, "CREATE INDEX i ON events (length(record))"),
    "another table": lambda run: statements(run, "CREATE TABLE mine (a)"),
    "a table missing": lambda run: statements(run, "DROP TABLE epochs"),
    "columns missing": lambda run: statements(
        run, "DROP TABLE epochs", "CREATE TABLE epochs (seq INTEGER PRIMARY KEY)"
    ),
    "two rows": lambda run: statements(
        run, "DROP TABLE run", "CREATE TABLE run (id, record, revision, heartbeat, written, last_seq, crc)"
    ),
    "another application": lambda run: statements(run, "PRAGMA application_id=7"),
    "format 99": lambda run: statements(run, "PRAGMA user_version=99"),
    "format -1": lambda run: statements(run, "PRAGMA user_version=-1"),
}
TABLES = {
    "run": RUNS, "models": MODELS, "epochs": EPOCHS, "events": EVENTS, "resources": SAMPLES, "paths": PATHS,
    "schema": SCHEMA,
}  # fmt: skip
