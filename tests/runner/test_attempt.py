"""How an end without a word is explained."""

from __future__ import annotations

import pytest
from fake_engine import FakeEngine, FakeWorker

from forge_tui.engines.base import EndKind
from forge_tui.protocol.job import Job
from forge_tui.runner.attempt import Attempt, unexplained

JOB = Job(
    run="run", directory="/run", working_directory="/", model="planner_2", index=2, attempt=3, seed=1, settings={},
    threads=1, device="cpu",
)  # fmt: skip


@pytest.fixture
def worker() -> FakeWorker:
    return FakeEngine().spawn("train", [JOB], "planner_2", lambda *_: None, lambda *_: None)


@pytest.mark.parametrize(
    ("kind", "recorded"), [(kind, kind.value) for kind in EndKind if kind is not EndKind.NOT_PLACED]
)
def test_the_record_of_an_end_without_a_word_has_the_kind_and_words_of_the_engine(
    worker: FakeWorker, kind: EndKind, recorded: str
) -> None:
    worker.ends(kind, "came to its end")
    found = unexplained(worker, JOB, 7.0)
    assert (found.kind, found.message) == (recorded, "worker fake-1 came to its end before the model was finished")
    assert (found.model, found.index, found.attempt, found.time) == ("planner_2", 2, 3, 7.0)


def test_a_worker_that_its_engine_cannot_place_has_no_name_in_the_record() -> None:
    worker = FakeEngine(lambda job: None).spawn("train", [JOB], "planner_2", lambda *_: None, lambda *_: None)
    worker.ends(EndKind.NOT_PLACED, "found no place: no node has so much memory")
    found = unexplained(worker, JOB, 7.0)
    assert found.kind == "exit"
    assert found.message == ("worker — found no place: no node has so much memory before the model was finished")


@pytest.mark.parametrize("where", ["File train.py, line 7", None])
def test_a_hang_says_where_if_the_worker_could(worker: FakeWorker, where: str | None) -> None:
    attempt = Attempt.begin(worker, 90.0, 5.0)
    attempt.where = where
    found = attempt.hang(JOB, 8.0)
    assert (found.kind, found.traceback) == ("hang", where)
    assert found.message.startswith("worker fake-1 has made no step for 90 s ([run] hang_seconds)")
    assert found.message.endswith("native code)") == (where is None)


def test_what_a_worker_costs_now_is_its_memory_without_what_it_shares(worker: FakeWorker) -> None:
    attempt = Attempt.begin(worker, None, 0.0)
    assert attempt.held(700) is None  # it has not told what it shares
    attempt.shared = 200
    assert (attempt.held(700), attempt.held(100), attempt.held(None)) == (500, 0, None)
