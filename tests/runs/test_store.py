"""Writing run.db: nothing is lost, nothing waits for the disk, one plain file is left."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from older_database import make_older

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import Decision, ModelStarted, RunStateChanged
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runs import store, tables
from forge_tui.runs.reader import RunReader
from forge_tui.runs.store import RunStore


def files(path: Path) -> list[str]:
    return sorted(os.listdir(path.parent))


def test_a_new_run_is_there_whole_and_private(runs: Any) -> None:
    made = runs.store()
    reader = RunReader(made.path)
    assert reader.info() == runs.info(made.path.parent)
    assert reader.models() == (runs.models(), 1)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    with pytest.raises(RunDirectoryError, match=r"exists already.*forge-tui resume"):
        RunStore.create(made.path, runs.info(made.path.parent), [])


def test_epochs_and_events_come_back_in_the_order_they_happened(runs: Any) -> None:
    made = runs.store()
    made.append(RunStateChanged(time=1.0, state="running"))
    made.append(runs.epoch(1, 1))
    made.append(Decision(time=2.0, kind="admit", reason="[bold]free[/] – ünï"))
    made.append(runs.epoch(2, 1, loss=math.nan, validation_accuracy=0.75))
    assert made.flush()
    events = RunReader(made.path).events()
    assert [seq for seq, _ in events] == [1, 2, 3, 4]
    assert [record["event"] for _, record in events] == [
        "run_state_changed", "epoch_finished", "decision", "epoch_finished",
    ]  # fmt: skip
    assert {record["run"] for _, record in events} == {"run"}
    assert events[2][1]["reason"] == "[bold]free[/] – ünï"
    assert events[1][1]["loss"] == 0.5
    assert "diverged" not in events[1][1]
    assert events[3][1]["loss"] is None
    assert events[3][1]["diverged"] is True
    assert events[3][1]["validation_accuracy"] == 0.75
    database = sqlite3.connect(made.path)
    assert database.execute("SELECT seq FROM epochs ORDER BY seq").fetchall() == [(2,), (4,)]
    assert database.execute("SELECT seq FROM events ORDER BY seq").fetchall() == [(1,), (3,)]
    database.close()


def test_only_the_newest_state_of_a_model_is_written(runs: Any) -> None:
    made = runs.store()
    states = [replace(runs.models()[1], phase=TrainingPhase.TRAINING, epoch=n) for n in range(1, 8)]
    reader = RunReader(made.path)
    _, revision = reader.models()
    for state in states:
        made.put_model(state)
    assert made.flush()
    changed, later = reader.models(revision)
    assert changed == [states[-1]]
    assert later > revision
    assert reader.models(later) == ([], later)


def test_the_run_record_and_the_time_of_writing(runs: Any) -> None:
    moments = iter(range(100, 100_000))
    made = runs.store(clock=lambda: float(next(moments)))
    reader = RunReader(made.path)
    before = reader.heartbeat()
    made.put_run(replace(reader.info(), state=RunState.RUNNING, workers=2))
    assert made.flush()
    after = reader.heartbeat()
    assert reader.info().state is RunState.RUNNING
    assert after.count > before.count
    assert after.written > before.written


def test_closing_waits_for_a_viewer_that_is_reading(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runs.store()
    run.append(runs.epoch(1, 1))
    reader = sqlite3.connect(f"{run.path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    reader.execute("SELECT count(*) FROM models").fetchone()
    waited = []

    def leave(seconds: float) -> None:
        waited.append(seconds)
        reader.close()

    monkeypatch.setattr(store.time, "sleep", leave)
    assert run.close()
    assert len(waited) == 1
    assert files(run.path) == ["run.db"]


def test_closing_leaves_one_plain_file(runs: Any) -> None:
    made = runs.store()
    made.append(runs.epoch(1, 1))
    assert made.close()
    assert files(made.path) == ["run.db"]
    assert made.close()
    database = sqlite3.connect(made.path)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    database.close()
    assert len(RunReader(made.path).epochs(1)) == 1
    assert files(made.path) == ["run.db"]


def test_going_on_continues_all_numbers(runs: Any) -> None:
    made = runs.store()
    made.append(runs.epoch(1, 1))
    made.add_resources({"time": 1.0, "cpu_percent": 50.0})
    made.close()
    heartbeat, (_, revision) = RunReader(made.path).heartbeat(), RunReader(made.path).models()
    again = RunStore.open(made.path)
    again.append(runs.epoch(1, 2))
    again.add_resources({"time": 2.0, "cpu_percent": math.inf})
    again.put_model(runs.models()[0])
    again.close()
    reader = RunReader(made.path)
    assert [seq for seq, _ in reader.events()] == [1, 2]
    assert reader.resources() == [
        (1, {"time": 1.0, "cpu_percent": 50.0}), (2, {"time": 2.0, "cpu_percent": None}),
    ]  # fmt: skip
    assert reader.resources(since_seq=1)[0][0] == 2
    assert reader.heartbeat().count > heartbeat.count
    assert [model.index for model in reader.models(revision)[0]] == [1]


def test_a_run_that_was_killed_is_read_and_gone_on_with(runs: Any, tmp_path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from conftest import run_info, model_states, epoch
from forge_tui.runs.store import RunStore
path = Path(sys.argv[1])
path.mkdir()
store = RunStore.create(path / "run.db", run_info(path), model_states())
for number in range(1, 6):
    store.append(epoch(1, number))
assert store.flush()
os.kill(os.getpid(), 9)
"""
    here, support = str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "killed"), here, support], check=False)
    assert ended.returncode == -9
    database = tmp_path / "killed" / "run.db"
    assert [record.epoch for record in RunReader(database).epochs(1)] == [1, 2, 3, 4, 5]
    again = RunStore.open(database)
    again.append(runs.epoch(1, 6))
    assert again.close()
    assert [seq for seq, _ in RunReader(database).events()] == [1, 2, 3, 4, 5, 6]
    assert files(database) == ["run.db"]


def test_a_locked_database_keeps_the_buffer_and_says_so(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = runs.store()
    other = sqlite3.connect(made.path, isolation_level=None)
    monkeypatch.setattr(store, "_BUSY_SECONDS", 0.05)
    made._connection.execute("PRAGMA busy_timeout=50")
    other.execute("BEGIN IMMEDIATE")
    made.append(runs.epoch(1, 1))
    failed = threading.Event()
    original = made._write
    monkeypatch.setattr(made, "_write", lambda batch: original(batch) or failed.set() or False)
    made.append(runs.epoch(1, 2))
    assert failed.wait(20)
    assert "locked" in made.problem
    other.execute("ROLLBACK")
    other.close()
    assert made.flush(20)
    assert made.problem is None
    assert [record.epoch for record in RunReader(made.path).epochs(1)] == [1, 2]


def test_a_full_disk_keeps_the_buffer_and_nothing_is_written_twice(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = runs.store()
    assert made.flush()
    pages = made._connection.execute("PRAGMA page_count").fetchone()[0]
    connect = store._connect

    def full(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute(f"PRAGMA max_page_count={pages}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(store, "_connect", full)
        made._connection.execute(f"PRAGMA max_page_count={pages}")
        for number in range(1, 2_001):
            made.append(runs.epoch(1, number, epochs=2_000))
        assert not made.flush(0.3)
        assert "full" in made.problem
    assert made.flush(20)
    assert made.problem is None
    assert [record.epoch for record in RunReader(made.path).epochs(1)] == list(range(1, 2_001))


def test_a_commit_that_failed_after_reaching_the_disk_is_not_repeated(
    runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs.store()
    original, calls = store.write_batch, []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments[1])
        position = original(*arguments)
        if len(calls) == 1:
            raise sqlite3.OperationalError("disk I/O error")
        return position

    monkeypatch.setattr(store, "write_batch", failing)
    made.append(runs.epoch(1, 1))
    assert made.flush(20)
    (_, epoch), (_, warning) = RunReader(made.path).events()
    assert epoch["event"] == "epoch_finished"
    assert f"{made.path}: disk I/O error; nothing could be written for" in warning["message"]


@pytest.mark.parametrize("times", [1, 2])
def test_an_error_while_the_database_is_made_one_plain_file_is_told_and_loses_nothing(
    times: int, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs.store()
    made.append(runs.epoch(1, 1))
    assert made.flush()
    leave, left = store._leave_wal, [sqlite3.OperationalError("disk I/O error")] * times

    def failing(connection: sqlite3.Connection) -> None:
        if left:
            raise left.pop()
        leave(connection)

    monkeypatch.setattr(store, "_leave_wal", failing)
    assert made.close()
    assert made.problem == f"{made.path}: disk I/O error while closing; see that its disk has space and works"
    if times == 1:  # the second try did it
        assert files(made.path) == ["run.db"]
    assert [record.epoch for record in RunReader(made.path).epochs(1)] == [1]


def test_a_disk_that_does_not_answer_holds_up_nobody_and_is_told(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = runs.store()
    assert made.flush()
    entered, answer, original = threading.Event(), threading.Event(), store.write_batch

    def stuck(*arguments: Any) -> Any:
        entered.set()
        assert answer.wait(60)
        return original(*arguments)

    monkeypatch.setattr(store, "write_batch", stuck)
    made.append(runs.epoch(1, 1))
    assert entered.wait(20)
    for number in range(2, 1_001):
        made.append(runs.epoch(1, number, epochs=1_000))
    assert made.problem is None
    monkeypatch.setattr(store, "STALL_SECONDS", 0.0)
    assert "the disk has not answered" in made.problem
    answer.set()
    assert made.flush(20)
    assert made.problem is None
    assert len(RunReader(made.path).epochs(1)) == 1_000


def test_a_deleted_database_is_a_problem_in_words(runs: Any) -> None:
    made = runs.store()
    made.path.unlink()
    made.append(runs.epoch(1, 1))
    assert not made.flush(1.0)
    assert "was deleted or replaced" in made.problem


def test_what_does_not_fit_the_columns_is_kept_and_stops_nothing(runs: Any) -> None:
    made = runs.store()
    made.append(runs.epoch(1, 1, step=2**70))
    made.append(
        ModelStarted(
            time=1.0, model="m", index=1, attempt=1, config={("a",): object, "bytes": "\udc80"}, seed=1, parameters=1,
            worker=1, device="cpu", threads=1,
        )
    )  # fmt: skip
    made.append(runs.epoch(1, 2))
    assert made.flush()
    reader = RunReader(made.path)
    events = reader.events()
    assert [(seq, record["event"]) for seq, record in events] == [(2, "model_started"), (3, "epoch_finished")]
    assert events[0][1]["config"] == {"('a',)": "<class 'object'>", "bytes": "?"}
    (told,) = reader.problems  # it is kept, and shown to nobody: no such step can be reached
    assert "a whole number has 22 digits" in told


def test_a_sample_without_time_is_the_callers_error(runs: Any) -> None:
    with pytest.raises(KeyError):
        runs.store().add_resources({"cpu_percent": 1.0})


def test_a_backlog_is_written_in_several_transactions(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LARGEST_BATCH", 10)
    made = runs.store()
    for number in range(1, 96):
        made.append(runs.epoch(1, number, epochs=100))
    assert made.flush()
    assert [seq for seq, _ in RunReader(made.path).events()] == list(range(1, 96))


@pytest.mark.parametrize("newer", [tables.VERSION + 1, 99])
def test_a_newer_database_is_refused(runs: Any, newer: int) -> None:
    made = runs.store()
    made.close()
    database = sqlite3.connect(made.path)
    database.execute(f"PRAGMA user_version={newer}")
    database.close()
    for refuse in (RunStore.open, RunReader):
        with pytest.raises(RunDirectoryError, match=rf"newer forge-tui \(format {newer}"):
            refuse(made.path)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_database_of_an_older_format_is_read_and_continued(runs: Any, version: int) -> None:
    """It has a column for each metric; its rows are rewritten when it is continued."""
    made = runs.store()
    made.append(runs.epoch(1, 1, loss=0.75, validation_accuracy=0.5))
    made.close()
    make_older(made.path, version)
    reader = RunReader(made.path)
    before = reader.epochs(1)
    assert before[0].metrics == {
        "loss": 0.75, "validation_accuracy": 0.5, "learning_rate": 0.001, "steps_per_second": 160.0,
    }  # fmt: skip
    assert [record["event"] for _, record in reader.events()] == ["epoch_finished"]
    assert reader.series(1, "loss", 5) == ((1, 0.75, 0.75),)
    assert reader.series(1, "validation_accuracy", 5) == ((1, 0.5, 0.5),)
    assert reader.series(1, "seconds", 5) == reader.series(1, "own", 5) == ((1, None, None),)
    with closing(RunStore.open(made.path)):
        assert RunReader(made.path).epochs(1) == before
    again = RunStore.open(made.path)
    again.append(runs.epoch(1, 2, validation_metric=0.5))
    again.append(runs.epoch(1, 3, validation_metric=math.nan))
    again.close()
    for found in (reader, RunReader(made.path)):
        assert [epoch.epoch for epoch in found.epochs(1)] == [1, 2, 3]
        assert found.problems == ()
    values = [epoch.metrics.get("validation_metric") for epoch in RunReader(made.path).epochs(1)]
    assert values == [None, 0.5, None]


def test_a_damaged_epoch_of_an_older_format_is_missing_after_the_migration(runs: Any) -> None:
    made = runs.store()
    for number in range(1, 4):
        made.append(runs.epoch(1, number))
    made.close()
    make_older(made.path, 3)
    with closing(sqlite3.connect(made.path)) as database:
        database.execute("UPDATE epochs SET loss = 0.0001 WHERE seq = 2")
        database.commit()
    with closing(RunStore.open(made.path)):
        reader = RunReader(made.path)
        assert [epoch.epoch for epoch in reader.epochs(1)] == [1, 3]
        assert "missing" in str(reader.problems)


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="is missing"):
        RunStore.open(tmp_path / "run.db")
    (tmp_path / "run.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(RunDirectoryError, match="cannot continue writing"):
        RunStore.open(tmp_path / "run.db")


def test_a_network_file_system_gets_a_rollback_journal(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "is_network", lambda path: True)
    made = runs.store()
    made.append(runs.epoch(1, 1))
    assert made.flush()
    assert "run.db-wal" not in files(made.path)
    assert len(RunReader(made.path).epochs(1)) == 1


def test_a_loss_of_minus_nothing_is_no_damage(runs: Any) -> None:
    # SQLite keeps -0.0 as 0.0, and the cross-entropy of a perfect model is -0.0.
    made = runs.store()
    made.append(runs.epoch(1, 1, -0.0, validation_loss=-0.0))
    assert made.flush()
    with RunReader(made.path) as reader:
        assert [(one.loss, one.metrics["validation_loss"]) for one in reader.epochs(1)] == [(0.0, 0.0)]
        assert reader.problems == ()


def test_a_reader_that_never_ends_holds_up_nobody_who_goes_on(runs: Any) -> None:
    store = runs.store()
    store.append(runs.epoch(1, 1))
    assert store.close()
    reading = sqlite3.connect(f"file:{store.path}?mode=ro", uri=True, isolation_level=None)
    reading.execute("BEGIN")
    assert reading.execute("SELECT count(*) FROM epochs").fetchone() == (1,)

    again = RunStore.open(store.path)
    runs.stores.append(again)
    again.append(runs.epoch(1, 2))
    assert again.flush()
    assert [epoch.epoch for epoch in RunReader(store.path).epochs(1)] == [1, 2]
    assert reading.execute("SELECT count(*) FROM epochs").fetchone() == (1,)
    reading.close()
    assert again.close()
    assert sorted(path.name for path in store.path.parent.iterdir()) == ["run.db"]


# --- the directory moves


def test_a_moved_database_is_written_on_and_closed_where_it_is_now(runs: Any, tmp_path: Path) -> None:
    made = runs.store()
    made.append(runs.epoch(1, 1))
    assert made.flush()
    os.rename(made.path.parent, tmp_path / "new")
    made.append(runs.epoch(1, 2))
    made.flush(2.0)
    made.move(tmp_path / "new" / "run.db")
    made.append(runs.epoch(1, 3))
    assert made.close()
    assert made.problem is None
    assert [record.epoch for record in RunReader(tmp_path / "new" / "run.db").epochs(1)] == [1, 2, 3]
    assert files(tmp_path / "new" / "run.db") == ["run.db"]
    assert not made.path.parent.with_name("run").exists()


@pytest.mark.parametrize("moved", [True, False])
def test_nothing_of_another_run_at_the_old_path_is_touched(moved: bool, runs: Any, tmp_path: Path) -> None:
    made = runs.store()
    path = made.path
    made.append(runs.epoch(1, 1))
    assert made.flush()
    os.rename(path.parent, tmp_path / "new")
    other = runs.store()
    other.append(runs.epoch(2, 1))
    assert other.flush()
    before = {name: (path.parent / name).read_bytes() for name in ("run.db", "run.db-wal")}
    assert before["run.db-wal"]
    made.append(runs.epoch(1, 2))
    if moved:
        made.move(tmp_path / "new" / "run.db")
    else:
        made.flush(2.0)
        assert made.is_gone
    assert made.close(5.0) is moved
    with RunReader(path) as reader:
        assert [(record.index, record.epoch) for record in reader.epochs(2)] == [(2, 1)]
        assert reader.epochs(1) == []
    assert (path.parent / "run.db-wal").read_bytes().startswith(before["run.db-wal"])


@pytest.mark.parametrize("replaced", [True, False])
def test_a_deleted_or_replaced_database_is_gone_and_nobody_waits_for_it(replaced: bool, runs: Any) -> None:
    made = runs.store()
    assert not made.is_gone
    made.path.unlink()
    if replaced:
        made.path.write_bytes(b"mine")
    made.append(runs.epoch(1, 1))
    assert not made.flush(30.0)
    assert made.is_gone
    assert not made.close(30.0)
    assert made.path.exists() == replaced
    if replaced:
        assert made.path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_IOERR_SHMSIZE, "see that its disk has space and works"),
        (sqlite3.SQLITE_FULL, "see that its disk has space and works"),
        (sqlite3.SQLITE_CANTOPEN, "see that you may write in its directory, and that its disk has space and works"),
        (sqlite3.SQLITE_CORRUPT, "if it is damaged, restore a copy, or start the run anew in another directory"),
    ],
)
def test_an_error_at_opening_is_called_damage_only_where_it_may_be(
    runs: Any, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    made = runs.store()
    made.close()
    error = sqlite3.OperationalError("not to be opened")
    error.sqlite_errorcode = code

    def failing(_path: Path) -> sqlite3.Connection:
        raise error

    monkeypatch.setattr(store, "_connect", failing)
    with pytest.raises(RunDirectoryError) as raised:
        RunStore.open(made.path)
    assert str(raised.value) == f"cannot continue writing {made.path}: not to be opened; {advice}"
