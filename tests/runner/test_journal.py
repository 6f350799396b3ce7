"""The one owned state: every change is an event, impossible ones are left out and told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from forge_tui.progress.events import PhaseChanged, RunStateChanged
from forge_tui.progress.phases import RunState, TrainingPhase
from forge_tui.progress.snapshot import ModelState, RunInfo
from forge_tui.progress.transitions import may_follow_model, may_follow_run
from forge_tui.runner.journal import Journal
from forge_tui.runs.reader import RunReader
from forge_tui.runs.store import RunStore

M, R = TrainingPhase, RunState


class Book:
    """A journal with its store, and what is in the database."""

    def __init__(self, base: Path) -> None:
        info = RunInfo(
            run="run", path=str(base), mode="series", policy="shared", model_type="planner", models=1, epochs=3,
            created=1.0,
        )  # fmt: skip
        models = [ModelState(name="planner_1", index=1, seed=0, epochs=3)]
        self.path = base / "run.db"
        self.store = RunStore.create(self.path, info, models)
        self.journal = Journal(self.store, info, models, lambda: 7.0)

    def events(self) -> list[dict]:
        assert self.store.flush()
        with RunReader(self.path) as reader:
            return [record for _, record in reader.events(0, 10_000)]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    one = Book(tmp_path)
    yield one
    one.store.close()


def test_every_pair_of_phases_is_taken_in_or_left_out_and_told(book: Book) -> None:
    expected = []
    for before, after in product(M, M):
        book.journal.models[1] = ModelState(name="planner_1", index=1, seed=0, epochs=3, phase=before)
        book.journal.record(PhaseChanged(time=7.0, model="planner_1", index=1, attempt=1, phase=after, previous=before))
        possible = may_follow_model(before, after)
        assert book.journal.models[1].phase is (after if possible else before)
        told = f"planner_1 cannot become {after} from {before}: left out; please report this"
        expected.append(("phase_changed", None) if possible else ("resource_warning", told))
    assert [(event["event"], event.get("message")) for event in book.events()] == expected


def test_every_pair_of_run_states_is_taken_in_or_left_out_and_told(book: Book) -> None:
    expected = []
    for before, after in product(R, R):
        book.journal.info = replace(book.journal.info, state=before)
        book.journal.run_state(after)
        possible = may_follow_run(before, after) or before is after is R.QUEUED
        assert book.journal.info.state is (after if possible else before)
        expected.append("run_state_changed" if possible else "resource_warning")
    assert [event["event"] for event in book.events()] == expected


def test_an_end_that_cannot_be_is_left_out_too(book: Book) -> None:
    book.journal.finish(R.COMPLETED, 1.0)
    assert book.journal.info.state is R.QUEUED
    assert [event["event"] for event in book.events()] == ["resource_warning"]


def test_a_run_that_waits_tells_for_what(book: Book) -> None:
    book.journal.record(RunStateChanged(time=7.0, state=R.QUEUED, reason="waits for one"))
    book.journal.record(RunStateChanged(time=7.0, state=R.QUEUED, reason="waits for two"))
    assert [event["reason"] for event in book.events()] == ["waits for one", "waits for two"]
    assert book.journal.info.reason == "waits for two"
