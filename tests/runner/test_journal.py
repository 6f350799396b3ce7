"""The one owned state: every change is an event, impossible ones are left out and told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_tui.protocol.events import (
    CheckpointSaved,
    EpochFinished,
    Event,
    ModelCompleted,
    ModelFailed,
    ModelRetried,
    ModelStarted,
    PhaseChanged,
    RunFinished,
    RunStateChanged,
    WorkerLimited,
    from_record,
)
from forge_tui.protocol.metrics import MOST_METRICS, Metric
from forge_tui.protocol.model_state import ModelState, apply
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.record_fields import LONGEST_SECONDS, MOST_MODELS
from forge_tui.protocol.run_info import RunInfo, apply_to_run
from forge_tui.protocol.transitions import may_follow_model, may_follow_run
from forge_tui.runner.journal import Journal
from forge_tui.runs.reader import RunReader
from forge_tui.runs.store import RunStore

M, R = TrainingPhase, RunState


ABOUT = {"model": st.just("planner_1"), "index": st.just(1), "attempt": st.integers(1, 5), "time": st.floats(0.0, 1e9)}
TEXT = st.text(max_size=20).filter(lambda text: text.isprintable())
COUNT = st.integers(0, 10**9)
EPOCHS = st.none() | st.integers(1, 10**9)
WORKERS = st.integers(0, MOST_MODELS)
GROUP = st.none() | st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True), min_size=1)
FIGURE = st.none() | st.floats(allow_nan=False, allow_infinity=False)
LOSS = st.none() | st.floats()
SECONDS = st.floats(0.0, LONGEST_SECONDS)
PHASES = st.builds(PhaseChanged, phase=st.sampled_from(M), previous=st.just("queued"), reason=st.none() | TEXT, **ABOUT)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    PHASES,
    PHASES,
    st.builds(ModelStarted, config=st.dictionaries(TEXT, FIGURE), seed=COUNT, parameters=COUNT, worker=COUNT,
              device=TEXT, threads=WORKERS, group=GROUP, **ABOUT),
    st.builds(EpochFinished, epoch=COUNT, epochs=EPOCHS, step=COUNT, best_loss=FIGURE, seconds=SECONDS,
              metrics=st.fixed_dictionaries({"loss": LOSS}, optional={"validation_loss": FIGURE, "own": FIGURE}),
              **ABOUT),
    st.builds(CheckpointSaved, epoch=COUNT, step=COUNT, path=TEXT, bytes=COUNT, seconds=st.floats(0, 9), **ABOUT),
    st.builds(ModelCompleted, path=TEXT, metrics=st.fixed_dictionaries({"loss": FIGURE}), exact=st.booleans(), **ABOUT),
    st.builds(ModelFailed, kind=st.sampled_from(["exception", "hang"]), message=TEXT, traceback=st.none() | TEXT,
              will_retry=st.booleans(), **ABOUT),
    st.builds(ModelRetried, from_epoch=COUNT, reason=TEXT, learning_rate_factor=st.floats(0.01, 1.0), **ABOUT),
    st.builds(RunStateChanged, state=st.sampled_from(R), reason=st.none() | TEXT, time=ABOUT["time"]),
    st.builds(WorkerLimited, requested=WORKERS, workers=WORKERS, policy=TEXT, reason=TEXT, limited_by=TEXT,
              hint=st.none(), time=ABOUT["time"]),
    st.builds(RunFinished, status=st.sampled_from(R), seconds=st.floats(0, 9), models=st.just([]), time=ABOUT["time"]),
)  # fmt: skip


class Book:
    """A journal with its store, and what is in the database."""

    def __init__(self, base: Path) -> None:
        info = RunInfo(
            run="run", path=str(base), mode="series", policy="shared", model_type="planner", models=1, epochs=3,
            created=1.0,
        )  # fmt: skip
        models = [ModelState(name="planner_1", index=1, seed=0, epochs=3)]
        self.first = (info, models[0])
        self.path = base / "run.db"
        self.store = RunStore.create(self.path, info, models)
        self.journal = Journal(self.store, info, models, lambda: 7.0)

    def close(self) -> None:
        self.store.close()

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


def epoch(number: int, metrics: dict[str, float]) -> EpochFinished:
    return EpochFinished(
        time=7.0, model="planner_1", index=1, attempt=1, epoch=number, epochs=9, step=number, metrics=metrics,
        best_loss=None,
    )  # fmt: skip


def test_a_run_has_at_most_two_hundred_metrics_and_says_what_it_leaves_out(book: Book) -> None:
    first = {f"m{number}": 1.0 for number in range(MOST_METRICS - 1)}
    book.journal.record(epoch(1, first))
    book.journal.declare([Metric(name=name, title=name, short=name, goal="lower") for name in ("last", "none")])
    book.journal.record(epoch(2, {"beyond": 2.0, "last": 3.0, "m0": 4.0}))
    book.journal.record(epoch(3, {"further": 2.0}))
    told = [event for event in book.events() if event["event"] == "resource_warning"]
    kept = [event["metrics"] for event in book.events() if event["event"] == "epoch_finished"]
    assert kept == [first, {"last": 3.0, "m0": 4.0}, {}]
    assert len(book.journal.info.metrics) == MOST_METRICS
    ((kind, message),) = [(event["kind"], event["message"]) for event in told]
    assert kind == "metrics"
    assert message.startswith("a run has at most 200 different metrics: beyond of planner_1, and all others")


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_the_recorded_events_alone_give_the_run_and_its_model_and_nothing_impossible_is_among_them(
    given_events: list[Event],
) -> None:
    with TemporaryDirectory() as base, closing(Book(Path(base))) as book:
        info, model = book.first
        for event in given_events:
            book.journal.record(event)
        recorded = [from_record(record) for record in book.events()]
        assert len(recorded) == len(given_events)
        for event in recorded:
            if isinstance(event, PhaseChanged):
                assert may_follow_model(model.phase, M(event.phase))
            if isinstance(event, RunStateChanged | RunFinished):
                state = R(event.state if isinstance(event, RunStateChanged) else event.status)
                assert may_follow_run(info.state, state) or info.state is state is R.QUEUED
            model, info = apply(model, event), apply_to_run(info, event)
        with RunReader(book.path) as reader:
            assert reader.models(0)[0] == [model] == [book.journal.models[1]]
            assert reader.info() == info == book.journal.info
