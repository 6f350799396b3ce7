"""Following a run: what makes a new snapshot, and what does not."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from run_directories import RunMaker

from forge_tui import client
from forge_tui.batch import batch_mode
from forge_tui.cli import main
from forge_tui.errors import RunGone
from forge_tui.protocol.events import ResourceWarned
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.runner.journal import Journal
from forge_tui.runs.lock import RunLock
from forge_tui.runs.reader import RunReader


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[RunMaker]:
    made = RunMaker(tmp_path / "runs", now=1_000_000.0)
    yield made
    made.close()


def test_a_runner_without_a_sign_of_life_is_news_every_five_seconds(maker: RunMaker) -> None:
    cancelled = threading.Event()
    times = iter([0.0, 3.9, 4.1, 8.9, 9.1])

    def monotonic() -> float:
        try:
            return next(times)
        except StopIteration:
            cancelled.set()
            return 9.2

    clock = iter([1_000_001.0, *[1_003_600.0] * 9])  # it is set an hour ahead after the first look
    path = maker.make(state=RunState.RUNNING)
    with client.Run(path, clock=lambda: next(clock), monotonic=monotonic) as run:
        ages = [round(snapshot.age, 1) for snapshot in run.follow(0.001, cancelled)]
    assert ages == [1.0, 5.1, 10.1]


def test_how_long_a_run_goes_on_is_what_its_runner_measured_and_what_the_viewer_did(
    maker: RunMaker, tmp_path: Path
) -> None:
    """Whatever happens to the wall clocks of both."""
    path = maker.make(state=RunState.RUNNING, models=[maker.model(1, TrainingPhase.QUEUED)])
    (store,) = maker._stores
    wall, runner, viewer = [1_000_000.0], [50.0], [900.0]
    info = RunReader(path).info()
    journal = Journal(store, info, [maker.model(1, TrainingPhase.QUEUED)], lambda: wall[0], lambda: runner[0])
    with client.Run(path, clock=lambda: wall[0], monotonic=lambda: viewer[0]) as run:

        def look(runner_seconds: float, viewer_seconds: float, set_by: float, phase: TrainingPhase | None) -> Snapshot:
            runner[0] += runner_seconds
            if phase is not None:
                journal.phase(1, phase)
                assert store.flush()
            viewer[0] += viewer_seconds
            wall[0] += runner_seconds + viewer_seconds + set_by
            return run.snapshot()

        assert look(3.0, 0.0, 0.0, TrainingPhase.INITIALIZING).elapsed_seconds == 3.0
        assert look(0.0, 0.5, 3600.0, None).elapsed_seconds == 3.5
        snapshot = look(20.0, 0.25, -7200.0, TrainingPhase.TRAINING)
        assert snapshot.elapsed_seconds == 23.0  # at the first look at a sign of life that is all that is known
        assert snapshot.age <= 0.25
        assert snapshot.models[0].took(snapshot.elapsed_seconds, wall[0]) == 20.0
        snapshot = look(0.0, 2.0, 3600.0, None)
        assert (snapshot.elapsed_seconds, snapshot.age) == (25.0, pytest.approx(2.0, abs=0.25))
        assert snapshot.models[0].took(snapshot.elapsed_seconds, wall[0]) == 22.0
        # Back in the queue, nobody is busy with it; then it goes on.
        assert look(10.0, 0.0, 0.0, TrainingPhase.QUEUED).models[0].seconds == 30.0
        snapshot = look(40.0, 0.0, 3600.0, TrainingPhase.INITIALIZING)
        assert snapshot.models[0].took(snapshot.elapsed_seconds + 1.0, wall[0]) == 31.0
        look(1.0, 0.0, 0.0, TrainingPhase.FAILED)
        runner[0] += 4.0
        for state in (RunState.STOPPING, RunState.FAILED):
            journal.finish(state, 1.0) if state is RunState.FAILED else journal.run_state(state)
        assert store.flush()
        wall[0] -= 5_000.0
        runner[0] += 1_000.0
        snapshot = run.snapshot()
        assert snapshot.run.seconds == snapshot.elapsed_seconds == 78.0
        assert snapshot.models[0].took(snapshot.elapsed_seconds, wall[0]) == 31.0


def test_a_run_that_died_went_on_until_its_last_sign_of_life(maker: RunMaker) -> None:
    path = maker.make(state=RunState.RUNNING)
    (store,) = maker._stores
    runner = [50.0]
    Journal(store, RunReader(path).info(), [], lambda: 5_000_000.0, lambda: runner[0]).warn("x", "a sign of life")
    runner[0] += 12.5
    store.append(ResourceWarned(time=1.0, kind="x", message="another"))
    assert store.flush()
    maker.close()
    with client.Run(path) as run:
        snapshot = run.snapshot()
    assert (snapshot.state, snapshot.elapsed_seconds) == (RunState.DIED, 12.5)


def test_of_a_run_that_measured_nothing_the_wall_clock_tells(maker: RunMaker) -> None:
    with client.Run(maker.make(ago=3600.0)) as run:
        snapshot = run.snapshot()
    assert (snapshot.seconds, snapshot.elapsed_seconds) == (None, 600.0)
    assert snapshot.models[0].took(snapshot.elapsed_seconds, 0.0) == 600.0


class Slow:
    """A run of which a look takes a second of CPU, and that ends at the third look."""

    def __init__(self) -> None:
        self.now = self.busy = 0.0
        self.waited: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.busy

    def snapshot(self) -> SimpleNamespace:
        self.now += 1.0
        self.busy += 1.0
        return SimpleNamespace(state=RunState.COMPLETED if len(self.waited) == 2 else RunState.RUNNING)

    def pass_time(self, seconds: float, interrupted: Callable[[], bool]) -> None:
        assert not interrupted()
        self.waited.append(seconds)


def test_batch_mode_looks_seldom_where_a_look_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Slow()
    monkeypatch.setattr(batch_mode, "time", run)
    assert len(list(batch_mode._looks(run, []))) == 3  # type: ignore[arg-type]
    assert run.waited == pytest.approx([20.0, 20.0])


def test_a_slow_reader_of_the_output_does_not_make_looks_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Slow()
    monkeypatch.setattr(batch_mode, "time", run)
    for _ in batch_mode._looks(run, []):  # type: ignore[arg-type]
        run.now += 3600.0  # the pipe is full
    assert run.waited == pytest.approx([20.0, 20.0])


def test_an_answer_is_looked_for_only_in_what_came_after_the_command(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client.Run(maker.make(state=RunState.RUNNING)) as run:
        newest = run.messages(0, limit=0)[1]
        assert newest > 0
        asked: list[int] = []
        monkeypatch.setattr(run, "events", lambda since: asked.append(since) or [])
        assert run.answer(run.pause(), timeout=0.0) is None
        assert asked == [newest]
        assert run.answer("somebody else's", timeout=0.0) is None
        assert asked == [newest, 0]


@pytest.fixture
def held(maker: RunMaker) -> Iterator[tuple[client.Run, RunLock]]:
    """A run whose directory is held."""
    with client.Run(maker.make(state=RunState.COMPLETED)) as run:
        lock = RunLock.acquire(run.directory.lock)
        yield run, lock
        lock.release()


def test_the_end_of_a_run_is_seen_at_once_however_long_is_waited(held: tuple[client.Run, RunLock]) -> None:
    run, lock = held
    looks: list[bool] = []

    def let_go_later() -> bool:
        looks.append(True)
        if len(looks) == 3:
            lock.release()
        return False

    run.pass_time(1_000_000.0, let_go_later)
    assert len(looks) == 3


def test_a_wait_ends_when_it_is_interrupted(held: tuple[client.Run, RunLock]) -> None:
    run, _lock = held
    looks = iter([False, False, True])
    run.pass_time(1_000_000.0, lambda: next(looks))
    assert next(looks, None) is None


def test_what_nobody_holds_is_waited_for_as_long_as_asked(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    with client.Run(maker.make(state=RunState.COMPLETED)) as run:
        monkeypatch.setattr(time, "monotonic", lambda: now)
        monkeypatch.setattr(time, "sleep", sleep)
        run.pass_time(0.5)
    assert now == pytest.approx(0.5)


# --- the directory goes away


def go_away(what: str, directory: Path) -> None:
    if what == "deleted":
        shutil.rmtree(directory)
        return
    os.rename(directory, directory.with_name("elsewhere"))
    if what == "another run":
        shutil.copytree(directory.with_name("elsewhere"), directory)
    elif what == "another directory":
        directory.mkdir()


@pytest.mark.parametrize("what", ["moved", "deleted", "another directory", "another run"])
@pytest.mark.parametrize("viewer", ["wait", "logs", "batch mode"])
def test_viewers_of_a_live_run_end_with_words_when_its_directory_goes_away(
    viewer: str, what: str, maker: RunMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = maker.make("live", RunState.RUNNING)
    looks = 0

    def pass_time(*_: object) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            go_away(what, directory)

    monkeypatch.setattr(client.Run, "pass_time", pass_time)
    monkeypatch.setattr("forge_tui.cli.look.time", SimpleNamespace(sleep=pass_time))
    if viewer == "batch mode":
        with client.Run(directory) as run:
            status = batch_mode.watch(run, json_lines=False)
    else:
        status = main([viewer, str(directory), *(["--follow"] if viewer == "logs" else [])])
    assert status == 1
    assert looks == 2
    assert f"run live: its directory {directory} was moved or deleted" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["run.db", "lock"])
def test_a_directory_that_is_being_deleted_is_no_run_that_has_died(name: str, maker: RunMaker) -> None:
    directory = maker.make("live", RunState.RUNNING)
    with client.Run(directory) as run:
        assert run.snapshot().state is RunState.RUNNING
        (directory / name).unlink()
        with pytest.raises(RunGone, match=f"run live: {directory / name} was deleted"):
            run.snapshot()


def test_who_follows_gets_a_last_snapshot_that_is_not_live_and_then_the_reason(maker: RunMaker) -> None:
    directory = maker.make("live", RunState.RUNNING)
    with client.Run(directory) as run:
        following = run.follow(0.01)
        assert next(following).state is RunState.RUNNING
        go_away("moved", directory)
        last = next(following)
        assert (last.state, len(last.models)) == (RunState.DIED, 3)
        with pytest.raises(RunGone):
            next(following)


def test_a_run_that_has_died_and_was_copied_without_its_lock_is_shown_as_died(maker: RunMaker) -> None:
    directory = maker.make("dead", RunState.DIED)
    (directory / "lock").unlink(missing_ok=True)
    with client.Run(directory) as run:
        assert run.snapshot().state is RunState.DIED
        assert run.wait().state is RunState.DIED
