"""Well-formed records that no run ever wrote: each is left out, or the run refused, in words and within bounds."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest
from hostile_records import EPOCHS, EVENTS, LONG, MODELS, RUNS, SAMPLES, SCHEMA, STEERING, Change, model_record
from run_directories import RunMaker

from forge_tui.client.run import Run
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import Decision, EpochFinished
from forge_tui.runs.reader import RunReader
from forge_tui.runs.record import read_record
from forge_tui.runs.store import RunStore

# Nothing is wrong with these: a run may say so.
HARMLESS = {
    "run": (
        "epochs 10^12", "recorded as live", "steering text", "another path", "code elsewhere", "data of no kind",
        "no working directory",
    ),
    "models": ("epochs 10^12", "epoch 10^18", "numbers 1e308", "steering text", "steering failures", "group ../"),
    "epochs": ("epoch 10^18", "loss 1e308"),
    "events": ("unknown kind", "steering text", "steering failure"),
    "resources": ("texts",),
}  # fmt: skip


@pytest.fixture
def run(maker: RunMaker) -> Path:
    event = Decision(time=1.0, kind="hold", reason="there is no memory")
    return maker.make("run", count=2, histories={1: 5, 2: 5}, events=[event])


def looked_at(run: Path) -> tuple[str, ...]:
    """All that viewers read, and what they report of it."""
    with Run(run) as attached:
        for model in attached.snapshot().models:
            attached.history(model.index)
            attached.series(model.index, "loss", 10)
            attached.epoch_page(model.index, 0, 100)
        since = 0
        while found := attached.events(since, limit=100):
            since = found[-1][0]
        attached.events_of(["decision"])
        attached.messages(0, 100)
        attached.resources()
        return attached.snapshot().problems


@pytest.mark.parametrize("case", RUNS)
def test_a_record_of_the_run(run: Path, case: str) -> None:
    _is_told(run, RUNS[case], case in HARMLESS["run"] or case == "last event 10^15")


def _is_told(run: Path, change: Change, is_shown: bool) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    change(run)
    begun = time.process_time()
    if is_shown:
        looked_at(run)
    else:
        with pytest.raises(RunDirectoryError) as told:
            looked_at(run)
        assert f"{run / 'run.db'} is damaged" in str(told.value)
        assert len(str(told.value)) < 1_000
    assert time.process_time() - begun < 20.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10


@pytest.mark.parametrize("case", MODELS)
def test_a_record_of_a_model(run: Path, case: str) -> None:
    MODELS[case](run)
    _told_or_named(run, case, "models", refused=("name ../", "name from the root", "group ../"))


@pytest.mark.parametrize("case", EPOCHS)
def test_a_row_of_an_epoch(run: Path, case: str) -> None:
    EPOCHS[case](run)
    if case == "seq 2^62":
        assert any("row" in one and "missing" in one for one in looked_at(run))
        return
    _told_or_named(run, case, "epochs")


@pytest.mark.parametrize("case", EVENTS)
def test_a_record_of_an_event(run: Path, case: str) -> None:
    EVENTS[case](run)
    _told_or_named(run, case, "events")


@pytest.mark.parametrize("case", SAMPLES)
def test_a_resource_sample(run: Path, case: str) -> None:
    SAMPLES[case](run)
    _told_or_named(run, case, "resources")


def _told_or_named(run: Path, case: str, table: str, refused: tuple[str, ...] = ()) -> None:
    if case in refused:
        with pytest.raises(RunDirectoryError):
            looked_at(run)
        return
    problems = looked_at(run)
    if case in HARMLESS[table]:
        assert not problems
    elif case not in ("model 10^18",):  # nobody asks for the epochs of that model
        assert any(f"of table {table} left out: " in one for one in problems), problems
    assert all(len(one) < 500 for one in problems)


@pytest.mark.parametrize("case", SCHEMA)
def test_other_tables_than_a_runs_are_refused_by_readers_and_the_writer(run: Path, case: str) -> None:
    SCHEMA[case](run)
    for use in (RunReader, RunStore.open, read_record):
        with pytest.raises(RunDirectoryError) as told:
            use(run / "run.db")
        assert str(run / "run.db") in str(told.value)


def test_statistics_of_sqlite_are_no_stranger(run: Path) -> None:
    from hostile_records import statements

    statements(run, "ANALYZE")
    assert looked_at(run) == ()
    RunStore.open(run / "run.db").close()


def test_texts_that_are_too_long_to_be_read_are_shortened_when_they_are_written(maker: RunMaker) -> None:
    event = Decision(time=1.0, kind="hold", reason=LONG)
    run = maker.make("run", count=1, events=[event])
    with Run(run) as attached:
        (found,) = attached.events_of(["decision"])
        assert attached.snapshot().problems == ()
    assert len(found["reason"]) == 1 << 20
    assert found["reason"].endswith(" … (shortened)")


def test_a_record_whose_numbers_are_those_of_another_row_is_left_out(run: Path) -> None:
    model_record(run, row=77)
    assert any("index = 1 belongs to another row" in one for one in looked_at(run))


def test_what_was_left_out_says_why(run: Path) -> None:
    model_record(run, reason=7, device=STEERING)
    (told,) = [one for one in looked_at(run) if "left out" in one]
    assert told.endswith("1 row of table models left out: reason = 7 is never written (first: number 1)")


def test_a_gap_that_the_record_claims_is_told_at_once(run: Path) -> None:
    RUNS["last event 10^15"](run)
    (told,) = [one for one in looked_at(run) if "missing" in one]
    assert "rows of the history missing" in told


def test_epochs_that_do_not_fit_are_no_epochs(run: Path) -> None:
    with Run(run) as attached:
        assert all(isinstance(epoch, EpochFinished) for epoch in attached.history(1))
