"""Runs that older versions wrote (`tests/fixtures`, made by `make_runs.py`), unpacked to work on.

`unpack` gives a run as it was copied from elsewhere: its records still name the place where it was trained, and this
user has not started it. `install` gives one that this user started in that very place. Nothing here is imported from
the package: the formats of the older versions are written down here once more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import struct
import tarfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
VERSIONS = tuple(sorted(path.name.removeprefix("runs-") for path in FIXTURES.glob("runs-*")))


@dataclass(frozen=True, slots=True)
class OldRun:
    """A kept run at `place`, where `project/run` is its directory, and what the manifest says of it.

    `models`: of each NAME phase, epoch and loss as they were recorded; `outputs`: the numbers that `make_runs.outputs`
    finds; `undisturbed`: SHA-256 of the file of weights that an undisturbed run gives, where that was asked.
    """

    name: str
    version: str
    place: Path
    state: str
    models: dict[str, dict[str, Any]]
    outputs: dict[str, list[float]]
    undisturbed: dict[str, str]
    environment: dict[str, Any]
    arguments: list[str]
    made_at: str

    @property
    def project(self) -> Path:
        """Where the run was started."""
        return self.place / "project"

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.project / "run"


def names(version: str) -> list[str]:
    """The runs that are kept of a version."""
    return sorted(_manifest(version))


def _manifest(version: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((FIXTURES / f"runs-{version}" / "manifest.json").read_bytes())
    return found


def unpack(name: str, place: Path, version: str = "0.1.0") -> OldRun:
    """The run below `place` (which must be empty or absent), as if it had been copied there."""
    with tarfile.open(FIXTURES / f"runs-{version}" / f"{name}.tar.gz") as archive:
        archive.extractall(place, filter="data")
    entry = _manifest(version)[name]
    return OldRun(
        name=name, version=version, place=place, state=entry["state"], models=entry["models"],
        outputs=entry["outputs"], undisturbed=entry["undisturbed"], environment=entry["environment"],
        arguments=entry["arguments"], made_at=entry["place"],
    )  # fmt: skip


def install(name: str, place: Path, version: str = "0.1.0") -> OldRun:
    """The run below `place`, as if this user had started it there, on this host; it is among the known runs."""
    run = unpack(name, place, version)

    def moved(text: str) -> str:
        return text.replace(run.made_at, str(place))

    for path in (run.run / "settings.toml", *run.run.rglob("cognate_*.json"), *place.glob("state/*/runs.jsonl")):
        path.write_text(moved(path.read_text(encoding="utf-8")), encoding="utf-8")
    for previous in run.run.glob("previous-*"):
        _move_database(previous, moved)
    _move_database(run.run, moved)
    known = Path(os.environ["XDG_STATE_HOME"]) / "forge-tui" / "runs.jsonl"
    known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with known.open("a", encoding="utf-8") as file:
        file.write((place / "state" / "forge-tui" / "runs.jsonl").read_text(encoding="utf-8"))
    return run


def settings_digest(path: Path) -> str:
    """The digest of settings.toml that runs of 0.1.0 record."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    document.get("training", {}).pop("epochs", None)
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


# --- run.db of formats 1 and 2: each row has a CRC-32 over its key and its record


def _move_database(directory: Path, moved: Callable[[str], str]) -> None:
    """Rewrite the records of run.db; what its writer left as a WAL stays one."""
    database = directory / "run.db"
    had_wal = database.with_name("run.db-wal").exists()
    connection = sqlite3.connect(database, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("BEGIN")
        _move_run(connection, directory, moved)
        _move_rows(
            connection, "models", "model_index", "revision", lambda key, other: struct.pack("<qq", key, other), moved
        )
        _move_rows(connection, "events", "seq", "0", lambda key, other: struct.pack("<qq", key, other), moved)
        _move_rows(connection, "resources", "seq", "time", lambda key, other: struct.pack("<qd", key, other), moved)
        connection.execute("COMMIT")
        if had_wal:  # closing would take it into the database
            kept = [database.with_name(f"run.db{suffix}") for suffix in ("", "-wal", "-shm")]
            for path in kept:
                shutil.copyfile(path, path.with_name(f"{path.name}.kept"))
    if had_wal:
        for path in kept:
            os.replace(path.with_name(f"{path.name}.kept"), path)


def _move_run(connection: sqlite3.Connection, directory: Path, moved: Callable[[str], str]) -> None:
    row = connection.execute("SELECT record, revision, heartbeat, written, last_seq FROM run").fetchone()
    record = json.loads(moved(row[0]))
    record["host"] = socket.gethostname()
    record["settings_sha256"] = settings_digest(directory / "settings.toml")
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    crc = crc32(text.encode(), crc32(struct.pack("<qqdq", *row[1:])))
    connection.execute("UPDATE run SET record = ?, crc = ?", (text, crc))


def _move_rows(
    connection: sqlite3.Connection,
    table: str,
    key: str,
    other: str,
    head: Callable[[Any, Any], bytes],
    moved: Callable[[str], str],
) -> None:
    for row in connection.execute(f"SELECT {key}, {other}, record FROM {table}").fetchall():
        text = moved(row[2])
        if text != row[2]:
            crc = crc32(text.encode(), crc32(head(row[0], row[1])))
            connection.execute(f"UPDATE {table} SET record = ?, crc = ? WHERE {key} = ?", (text, crc, row[0]))
