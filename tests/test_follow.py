"""Following a run: what makes a new snapshot, and what does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from run_directories import RunMaker

from forge_tui import headless, session
from forge_tui.progress.phases import RunState


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[RunMaker]:
    made = RunMaker(tmp_path / "runs", now=1_000_000.0)
    yield made
    made.close()


def test_a_runner_without_a_sign_of_life_is_news_every_five_seconds(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = threading.Event()
    times = iter([1_000_001.0, 1_000_004.9, 1_000_005.1, 1_000_009.9, 1_000_010.1])

    def now() -> float:
        try:
            return next(times)
        except StopIteration:
            cancelled.set()
            return 1_000_010.2

    with session.Run(maker.make(state=RunState.RUNNING)) as run:
        monkeypatch.setattr(session.time, "time", now)
        ages = [round(snapshot.age, 1) for snapshot in run.follow(0.001, cancelled)]
    assert ages == [1.0, 5.1, 10.1]


class Slow:
    """A run of which a look takes a second of `clock`, and that ends at the third look."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.looked: list[float] = []
        self.directory = self
        self.lock = Path("lock")

    def snapshot(self) -> SimpleNamespace:
        self.looked.append(self.clock.now)
        self.clock.now += 1.0
        return SimpleNamespace(state=RunState.COMPLETED if len(self.looked) == 3 else RunState.RUNNING)


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False


def test_batch_mode_looks_seldom_where_a_look_takes_long_and_at_once_when_the_lock_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    run = Slow(clock)
    monkeypatch.setattr(headless, "time", clock)
    monkeypatch.setattr(headless, "threading", SimpleNamespace(Event=lambda: clock))
    monkeypatch.setattr(headless, "is_locked", lambda _: clock.now < 25.0)
    assert len(list(headless._looks(run, []))) == 3  # type: ignore[arg-type]
    # Twenty times what the look took; then the lock is let go, and the least there is between two looks.
    assert run.looked == pytest.approx([0.0, 21.0, 25.0], abs=0.1)


def test_an_answer_is_looked_for_only_in_what_came_after_the_command(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session.Run(maker.make(state=RunState.RUNNING)) as run:
        newest = run.messages(0, limit=0)[1]
        assert newest > 0
        asked: list[int] = []
        monkeypatch.setattr(run, "events", lambda since: asked.append(since) or [])
        assert run.answer(run.pause(), timeout=0.0) is None
        assert asked == [newest]
        assert run.answer("somebody else's", timeout=0.0) is None
        assert asked == [newest, 0]
