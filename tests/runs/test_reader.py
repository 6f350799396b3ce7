"""Reading run.db: beside a writer, on read-only media, and when rows are damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forge_tui.analysis.spread import NO_NUMBER, SeedCurve, SeedValues
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import Decision, ResourceWarned
from forge_tui.runs import connection
from forge_tui.runs.reader import EpochPage, RunReader


def change(path: Path, sql: str) -> None:
    database = sqlite3.connect(path)
    with database:
        database.execute(sql)
    database.close()


def written(runs: Any, epochs: int = 10) -> Path:
    made = runs.store()
    for number in range(1, epochs + 1):
        made.append(runs.epoch(1, number, loss=1.0 / number, epochs=epochs))
        made.append(runs.epoch(2, number, loss=2.0 / number, epochs=epochs))
    made.close()
    return made.path


def test_a_directory_without_a_run_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="there is no run in"):
        RunReader(tmp_path)
    (tmp_path / "run.db").mkdir()
    with pytest.raises(RunDirectoryError, match="not a file"):
        RunReader(tmp_path / "run.db" / "..")


def test_other_files_are_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    path.write_bytes(b"")
    with pytest.raises(RunDirectoryError, match="is empty"):
        RunReader(path)
    path.write_bytes(b"text " * 1000)
    with pytest.raises(RunDirectoryError, match="is not the database of a run"):
        RunReader(path)
    path.unlink()
    change(path, "CREATE TABLE run (x)")
    with pytest.raises(RunDirectoryError, match="is not the database of a run"):
        RunReader(path)


def test_a_view_in_place_of_a_table_is_refused(runs: Any) -> None:
    path = written(runs)
    change(path, "DROP TABLE events")
    change(path, "CREATE VIEW events AS SELECT 1 AS seq, '{}' AS record, 0 AS crc")
    with pytest.raises(RunDirectoryError, match="has the view events"):
        RunReader(path)


def test_pages_of_events_join_without_gap_or_overlap(runs: Any) -> None:
    reader = RunReader(written(runs))
    position, seen = 0, []
    while page := reader.events(position, limit=3):
        assert len(page) <= 3
        seen += [seq for seq, _ in page]
        position = page[-1][0]
    assert seen == list(range(1, 21))


def test_a_retry_replaces_the_epochs_it_does_again(runs: Any) -> None:
    made = runs.store()
    for number in range(1, 7):
        made.append(runs.epoch(1, number, loss=10.0 + number))
    for number in range(4, 6):
        made.append(runs.epoch(1, number, loss=20.0 + number, attempt=2))
    made.flush()
    reader = RunReader(made.path)
    assert [(e.epoch, e.loss, e.attempt) for e in reader.epochs(1)] == [
        (1, 11.0, 1), (2, 12.0, 1), (3, 13.0, 1), (4, 24.0, 2), (5, 25.0, 2),
    ]  # fmt: skip
    assert reader.series(1, "loss", 100) == tuple(
        (n, v, v) for n, v in zip(range(1, 6), [11.0, 12, 13, 24, 25], strict=True)
    )
    assert len(reader.events()) == 8


def test_a_series_keeps_the_extremes_of_each_bucket(runs: Any) -> None:
    made = runs.store()
    values = [5.0, 1.0, 4.0, 2.0, 9.0, 3.0, None, None]
    for number, value in enumerate(values, 1):
        made.append(runs.epoch(1, number, loss=value))
    made.flush()
    reader = RunReader(made.path)
    assert reader.series(1, "loss", 4) == ((2, 1.0, 5.0), (4, 2.0, 4.0), (6, 3.0, 9.0), (8, None, None))
    made.append(runs.epoch(1, 9, loss=0.5))
    made.flush()
    assert reader.series(1, "loss", 1) == ((9, 0.5, 9.0),)
    assert reader.series(1, "validation_accuracy", 2) == ((5, None, None), (9, None, None))
    assert reader.series(7, "loss", 4) == ()
    for name in ("loss; DROP TABLE run", 'a"b', "a\\b", "val/loss", "ü.x[0]"):
        assert reader.series(1, name, 2) == ((5, None, None), (9, None, None))
    with pytest.raises(ValueError, match="buckets"):
        reader.series(1, "loss", 0)


def losses(page: EpochPage) -> list[tuple[int, float | None, float | None]]:
    return [(epoch, metrics["loss"], metrics.get("validation_loss")) for epoch, metrics in page.epochs]


def test_a_curve_of_a_metric_with_any_name(runs: Any) -> None:
    made = runs.store()
    names = ['a"b', "a\\b", "val/loss", "ü.x[0]", "$.x", "it's"]
    for number in range(1, 3):
        made.append(runs.epoch(1, number, metrics={name: number + place for place, name in enumerate(names)}))
    made.flush()
    reader = RunReader(made.path)
    for place, name in enumerate(names):
        assert reader.series(1, name, 9) == ((1, 1 + place, 1 + place), (2, 2 + place, 2 + place)), name


def test_losses_come_in_pages_in_the_order_they_were_trained(runs: Any) -> None:
    made = runs.store()
    for number in range(1, 5):
        made.append(runs.epoch(1, number, loss=10.0 + number, validation_loss=0.1 * number))
        made.append(runs.epoch(2, number, loss=0.5))
    made.append(runs.epoch(1, 4, loss=float("nan"), attempt=2))
    made.flush()
    reader = RunReader(made.path)
    first = reader.epoch_page(1, 0, 3)
    assert losses(first) == [(1, 11.0, 0.1), (2, 12.0, 0.2), (3, 13.0, pytest.approx(0.3))]
    assert first.may_be_more
    rest = reader.epoch_page(1, first.since, 3)
    assert losses(rest) == [(4, 14.0, 0.4), (4, None, None)]
    assert not rest.may_be_more
    assert reader.epoch_page(1, rest.since, 3) == EpochPage((), rest.since, False)


def test_what_a_training_function_reports_again_replaces_that_epoch_alone(runs: Any) -> None:
    made = runs.store()
    made.put_run(replace(runs.info(made.path.parent, 2), train="loop.py"))
    for number, loss in ((2, 1.0), (4, 2.0), (6, 3.0), (4, 4.0)):
        made.append(runs.epoch(1, number, loss=loss))
    made.flush()
    reader = RunReader(made.path)
    assert [(epoch.epoch, epoch.loss) for epoch in reader.epochs(1)] == [(2, 1.0), (4, 4.0), (6, 3.0)]
    assert [number for number, _ in reader.numbered_epochs(1)] == [1, 4, 3]
    assert reader.epoch_page(1, 0, 9).replaces_alone
    curve = reader.series(1, "loss", 6)
    assert [largest for _, _, largest in curve] == [1.0, None, 4.0, None, 3.0]
    assert reader.problems == ()


def test_a_mean_over_one_seed_is_divided_as_its_series_is(runs: Any) -> None:
    made = runs.store()
    for number in range(3, 40):
        made.append(runs.epoch(1, number, loss=1.0 / number if number % 5 else float("nan")))
    made.flush()
    reader = RunReader(made.path)
    seed = SeedValues()
    for number, metrics in reader.epoch_page(1, 0, 1_000).epochs:
        seed.put(number, metrics["loss"], NO_NUMBER)
    for buckets in (1, 2, 7, 10, 36, 37, 38, 100):
        assert SeedCurve([seed]).band(buckets).mean == reader.series(1, "loss", buckets), buckets


def test_a_changed_number_is_reported_and_never_shown(runs: Any) -> None:
    path = written(runs)
    change(path, "UPDATE epochs SET metrics = replace(metrics, '0.3', '0.0001') WHERE seq = 5")
    change(path, "UPDATE epochs SET seconds = 0.1 WHERE seq = 6")
    reader = RunReader(path)
    assert [record.epoch for record in reader.epochs(1)] == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert [epoch for epoch, low, _ in reader.series(1, "loss", 100) if low is not None] == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert min(low for _, low, _ in reader.series(1, "loss", 2) if low is not None) == 0.1
    assert [epoch for epoch, _ in RunReader(path).epoch_page(1, 0, 100).epochs] == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert [seq for seq, _ in reader.events()] == [seq for seq in range(1, 21) if seq not in (5, 6)]
    assert reader.problems == (f"{path}: 2 rows of table epochs left out: wrong checksum (first: number 5)",)


def test_a_changed_event_model_and_sample_are_reported(runs: Any) -> None:
    made = runs.store()
    made.append(runs.epoch(1, 1, step=2**70))
    made.add_resources({"time": 1.0, "x": 1})
    made.close()
    for table in ("events", "resources", "models"):
        change(made.path, f"UPDATE {table} SET record = replace(record, '1', '7')")
    reader = RunReader(made.path)
    assert reader.events() == []
    assert reader.resources() == []
    assert reader.models()[0] == []
    assert [problem.split("table ")[1].split(" ")[0] for problem in reader.problems] == [
        "events",
        "resources",
        "models",
    ]


def test_a_damaged_run_row_is_an_error(runs: Any) -> None:
    path = written(runs)
    change(path, "UPDATE run SET heartbeat = heartbeat + 1")
    with pytest.raises(RunDirectoryError, match="does not match its checksum"):
        RunReader(path)
    change(path, "DELETE FROM run")
    with pytest.raises(RunDirectoryError, match="record of the run is missing"):
        RunReader(path)


def test_missing_rows_are_noticed(runs: Any) -> None:
    path = written(runs)
    change(path, "DELETE FROM epochs WHERE seq IN (3, 20)")
    change(path, "DELETE FROM models WHERE model_index = 2")
    reader = RunReader(path)
    assert len(reader.events()) == 18
    assert len(reader.models()[0]) == 1
    assert reader.problems == (
        f"{path}: 1 row of table models missing",
        f"{path}: 2 rows of the history missing (first: number 3)",
    )


def test_a_gap_in_a_models_history_is_told(runs: Any) -> None:
    path = written(runs)
    change(path, "DELETE FROM epochs WHERE model_index = 1 AND epoch IN (4, 5)")
    reader = RunReader(path)
    assert [record.epoch for record in reader.epochs(1)] == [1, 2, 3, 6, 7, 8, 9, 10]
    assert len(reader.epochs(2)) == 10
    assert reader.problems == (f"{path}: 2 rows of table epochs (model 1) missing",)


def test_a_page_of_bad_rows_is_no_end(runs: Any) -> None:
    path = written(runs)
    change(path, "UPDATE epochs SET step = step + 1 WHERE seq <= 10")
    assert RunReader(path).events(limit=2)[0][0] == 11


def test_reading_shares_one_moment(runs: Any) -> None:
    made = runs.store()
    reader = RunReader(made.path)
    with reader.reading():
        assert reader.events() == []
        made.append(runs.epoch(1, 1))
        assert made.flush()
        assert reader.events() == []
    assert len(reader.events()) == 1


def test_a_viewer_that_is_reading_holds_up_nobody(runs: Any) -> None:
    made = runs.store()
    reader = RunReader(made.path)
    with reader.reading():
        reader.events()
        made.append(runs.epoch(1, 1))
        assert made.close()
    assert len(RunReader(made.path).events()) == 1


def test_a_locked_database_is_no_news(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.01)
    path = written(runs)
    reader = RunReader(path)
    info, heartbeat = reader.info(), reader.heartbeat()
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    assert reader.info() == info
    assert reader.heartbeat() == heartbeat
    assert reader.models(1) == ([], 1)
    assert reader.events() == []
    with pytest.raises(RunDirectoryError, match="locked by another program"):
        RunReader(path)
    writer.execute("ROLLBACK")
    writer.close()
    assert len(reader.events()) == 20


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE])
@pytest.mark.parametrize("is_empty", [False, True], ids=["log", "no log"])
def test_a_viewer_follows_the_run_again_after_an_error(
    runs: Any, monkeypatch: pytest.MonkeyPatch, code: int, is_empty: bool
) -> None:
    made = runs.store()
    made.append(runs.epoch(1, 1))
    assert made.flush()
    if is_empty:
        made._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    reader = RunReader(made.path)
    monkeypatch.setattr(connection, "REST_AFTER_COPY", 0.0)
    connect, failed = sqlite3.connect, list[str]()

    def failing(place: str, **options: Any) -> sqlite3.Connection:
        if not failed:
            failed.append(place)
            raise sqlite_error(code)
        return connect(place, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", failing)
        assert len(reader.events()) == 1
    assert failed == [f"{made.path.as_uri()}?mode=ro"]
    for number in (2, 3):
        made.append(runs.epoch(1, number))
        assert made.flush()
        assert len(reader.events()) == number
    assert reader.problems == ()


def test_a_run_that_is_followed_by_copies_is_not_copied_all_the_time(
    runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs.store()
    assert made.flush()
    reader, now, connect = RunReader(made.path), [100.0], sqlite3.connect
    copies, copy = list[str](), shutil.copy

    def failing(place: str, **options: Any) -> sqlite3.Connection:
        if place.startswith(made.path.as_uri()):
            raise sqlite_error(sqlite3.SQLITE_CANTOPEN)
        return connect(place, **options)

    def slow(source: Any, target: str) -> Any:
        copies.append(str(source))
        now[0] += 0.5
        return copy(source, target)

    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: now[0]))
        patch.setattr(sqlite3, "connect", failing)
        patch.setattr(shutil, "copy", slow)
        for number in range(1, 5):
            made.append(runs.epoch(1, number))
            assert made.flush()
            seen.append(len(reader.events()))
            now[0] += 10.5  # two files took a second: it rests for twenty
    assert seen == [1, 1, 3, 3]
    assert len(copies) == 4


def test_a_copy_that_took_minutes_keeps_a_viewer_behind_for_half_a_minute(
    runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs.store()
    assert made.flush()
    reader, now, connect, copy = RunReader(made.path), [100.0], sqlite3.connect, shutil.copy

    def failing(place: str, **options: Any) -> sqlite3.Connection:
        if place.startswith(made.path.as_uri()):
            raise sqlite_error(sqlite3.SQLITE_CANTOPEN)
        return connect(place, **options)

    def slow(source: Any, target: str) -> Any:
        now[0] += 60.0
        return copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: now[0]))
        patch.setattr(sqlite3, "connect", failing)
        patch.setattr(shutil, "copy", slow)
        assert len(reader.events()) == 0
        made.append(runs.epoch(1, 1))
        assert made.flush()
        now[0] += 29.0
        assert len(reader.events()) == 0
        now[0] += 1.5
        assert len(reader.events()) == 1


def test_a_log_that_cannot_be_copied_is_a_problem_until_the_run_can_be_read_again(
    runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs.store()
    assert made.flush()
    made._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    made.append(runs.epoch(1, 1))
    assert made.flush()
    reader = RunReader(made.path)
    monkeypatch.setattr(connection, "REST_AFTER_COPY", 0.0)
    connect = sqlite3.connect

    def failing(place: str, **options: Any) -> sqlite3.Connection:
        if "immutable" not in place:
            raise sqlite_error(sqlite3.SQLITE_CANTOPEN)
        return connect(place, **options)

    def full(*_arguments: Any) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", failing)
        patch.setattr(shutil, "copy", full)
        assert reader.events() == []
    assert reader.problems == (f"{made.path}-wal: No space left on device; the run's last data may be missing",)
    made.append(runs.epoch(1, 2))
    assert made.flush()
    assert len(reader.events()) == 2
    assert reader.problems == ()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (sqlite3.SQLITE_IOERR_READ, "cannot read {}: disk I/O error; see that its disk has space and works"),
        (sqlite3.SQLITE_FULL, "cannot read {}: disk I/O error; see that its disk has space and works"),
        (sqlite3.SQLITE_IOERR_SHORT_READ, "{} is damaged or cut off (disk I/O error); restore a copy"),
    ],
)
def test_an_error_of_the_disk_is_not_told_as_damage(
    runs: Any, monkeypatch: pytest.MonkeyPatch, code: int, told: str
) -> None:
    reader = RunReader(written(runs))

    def failing(*_arguments: Any, **_options: Any) -> sqlite3.Connection:
        raise sqlite_error(code)

    monkeypatch.setattr(sqlite3, "connect", failing)
    with pytest.raises(RunDirectoryError) as raised:
        reader.events()
    assert str(raised.value).startswith(told.format(reader.path))


READ = """
import json, os, sys
from pathlib import Path
from forge_tui.runs.reader import EpochPage, RunReader
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
reader = RunReader(Path(sys.argv[1]))
print(json.dumps([[seq for seq, _ in reader.events()], len(reader.models()[0]), reader.problems]))
reader.close()
"""


def read_as_nobody(path: Path) -> Any:
    """Read as a user who may not write: as root every directory is writable."""
    for directory in (path, *path.parents):
        if directory.stat().st_mode & 0o055 != 0o055:
            directory.chmod(directory.stat().st_mode | 0o055)
    for file in path.iterdir():
        file.chmod(0o444)
    path.chmod(0o555)
    try:
        ended = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)
    finally:
        path.chmod(0o755)


@pytest.mark.parametrize("kept", [("-wal", "-shm"), ("-wal",), ()])
def test_read_only_copies_of_finished_and_of_killed_runs(runs: Any, tmp_path: Path, kept: tuple[str, ...]) -> None:
    made = runs.store()
    for number in range(1, 4):
        made.append(runs.epoch(1, number))
    assert made.flush()
    copy = tmp_path / "copy"
    copy.mkdir()
    if not kept:
        made.close()
    for suffix in ("", *kept):
        shutil.copy(f"{made.path}{suffix}", copy)
    assert read_as_nobody(copy) == [[1, 2, 3], 2, []]
    assert sorted(os.listdir(copy)) == sorted(f"run.db{suffix}" for suffix in ("", *kept))


def test_a_wal_database_without_its_wal_is_read_on_read_only_media(runs: Any, tmp_path: Path) -> None:
    made = runs.store()
    made.append(runs.epoch(1, 1))
    assert made.flush()
    made._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(made.path, copy)
    assert read_as_nobody(copy) == [[1], 2, []]


def test_events_of_some_kinds_come_alone_and_damage_in_the_others_is_told(runs: Any) -> None:
    made = runs.store()
    for number in range(1, 4):
        made.append(runs.epoch(1, number))
        made.append(Decision(time=float(number), kind="hold", reason=f"reason {number}"))
        # Its text holds the word of another kind.
        made.append(ResourceWarned(time=float(number), kind="x", message='"event":"decision"'))
    made.close()
    with RunReader(made.path) as reader:
        found = reader.events_of(("decision",))
        assert [(event["event"], event["reason"]) for event in found] == [
            ("decision", "reason 1"), ("decision", "reason 2"), ("decision", "reason 3"),
        ]  # fmt: skip
        assert reader.problems == ()
    change(made.path, "UPDATE events SET crc = crc + 1 WHERE seq IN (3, 5)")
    change(made.path, "UPDATE epochs SET crc = crc + 1 WHERE seq = 4")
    change(made.path, "DELETE FROM events WHERE seq = 8")
    with RunReader(made.path) as reader:
        assert [event["reason"] for event in reader.events_of(("decision",))] == ["reason 1"]
        assert [problem.partition(": ")[2] for problem in reader.problems] == [
            "2 rows of table events left out: wrong checksum (first: number 3)",
            "1 row of table epochs left out: wrong checksum (first: number 4)",
            "1 row of the history missing (first: number 8)",
        ]


def test_models_of_one_group_share_their_config_and_group(runs: Any) -> None:
    made = runs.store()
    group = ("a", "b")
    for model in runs.models():
        made.put_model(replace(model, config={"learning_rate": 0.001}, group=group))
    made.close()
    with RunReader(made.path) as reader:
        first, second = reader.models()[0][:2]
    assert (first.config, first.group) == ({"learning_rate": 0.001}, group)
    assert first.config is second.config
    assert first.group is second.group
