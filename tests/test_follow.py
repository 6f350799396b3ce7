"""Following a run: what makes a new snapshot, and what does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_directories import RunMaker

from forge_tui import session
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
