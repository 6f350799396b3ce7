"""Events survive JSON, and lead to states that survive JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_tui.protocol import events
from forge_tui.protocol.model_state import TREND_LENGTH, ModelState, apply
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.record_fields import (
    _OF_EACH_EVENT,
    DURATIONS,
    LATEST_MOMENT,
    LONGEST_SECONDS,
    MOST_MODELS,
    check_event,
)  # fmt: skip
from forge_tui.protocol.run_info import RunInfo, apply_to_run

# Text as processes put it out: any character, and bytes that were none.
TEXT = st.text(max_size=20)
NUMBER = st.floats(allow_nan=True, allow_infinity=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | FINITE | TEXT, max_size=3)
# Names as people give them, with what JSON and SQL would mistake.
METRICS = st.fixed_dictionaries(
    {},
    optional={
        "loss": st.none() | FINITE, "validation_accuracy": st.none() | st.floats(0, 1), "val/loss": st.none() | FINITE,
        'say "x"': FINITE, "ü": st.integers(-(2**62), 2**62),
    },
)  # fmt: skip
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT, int: st.integers(0, 2**53), float: FINITE, bool: st.booleans(), dict[str, Any]: PLAIN,
    events.Metrics: METRICS,
    list[str]: st.lists(TEXT, max_size=3), list[dict[str, Any]]: st.lists(PLAIN, max_size=2), type(None): st.none(),
}  # fmt: skip


# What a run can measure and count.
COUNT = st.integers(0, MOST_MODELS)
_LONG = LONGEST_SECONDS / 1_000  # what is added up of a list of events can be recorded, too
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(DURATIONS, st.none() | st.floats(-_LONG, _LONG)),
    "time": st.floats(0, LATEST_MOMENT), "validation_accuracy": st.none() | st.floats(0, 1),
    **dict.fromkeys(("index", "models", "threads", "workers"), COUNT),
    "group": st.none() | st.lists(TEXT, min_size=1, max_size=3),
}  # fmt: skip


def value_of(kind: Any) -> st.SearchStrategy[Any]:
    if kind in BY_TYPE:
        return BY_TYPE[kind]
    return st.one_of(*(value_of(part) for part in typing.get_args(kind)))


@st.composite
def an_event(draw: st.DrawFn) -> events.Event:
    kind = draw(st.sampled_from(list(events.KINDS.values())))
    hints = typing.get_type_hints(kind)
    values = {
        name: draw(BY_NAME[name] if name in BY_NAME else value_of(hint))
        for name, hint in hints.items()
        if name != "event"
    }
    if kind is events.RunFinished:
        values["models"] = draw(value_of(hints["models"]))
    if kind is events.PhaseChanged:
        values["phase"] = draw(st.sampled_from(list(TrainingPhase))).value
    if kind is events.RunStateChanged:
        values["state"] = draw(st.sampled_from(list(RunState))).value
    if kind is events.RunFinished:
        values["status"] = draw(st.sampled_from(["completed", "failed", "stopped", "killed"]))
    if kind is events.EpochFinished:
        values["metrics"] = {**values["metrics"], "loss": draw(st.none() | NUMBER)}
    return kind(**values)


def same(one: Any, other: Any) -> bool:
    """Equal, where every NaN and infinity equals NaN: JSON has one word for all of them."""
    if isinstance(one, float) and isinstance(other, float) and not (math.isfinite(one) and math.isfinite(other)):
        return not math.isfinite(one) and not math.isfinite(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@settings(max_examples=300, deadline=None)
@given(an_event(), TEXT)
def test_an_event_survives_json(event: events.Event, run: str) -> None:
    line = events.encode(event, run)
    assert "\n" not in line
    record = json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert list(record)[:4] == ["v", "event", "time", "run"]
    assert (record["v"], record["event"], record["run"]) == (1, event.event, run)
    check_event(record)
    back = events.from_record(record)
    assert type(back) is type(event)
    for field in dataclasses.fields(event):
        assert same(getattr(back, field.name), getattr(event, field.name)), field.name


MODEL = ModelState(name="m", index=1, seed=0, epochs=10)
RUN = RunInfo(
    run="r", path="/r", mode="series", policy="shared", model_type="planner", models=1, epochs=10, created=1.0
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(an_event(), max_size=40))
def test_the_events_alone_give_the_snapshot(happened: list[events.Event]) -> None:
    model, run = MODEL, RUN
    again, run_again = MODEL, RUN
    for event in happened:
        model, run = apply(model, event), apply_to_run(run, event)
        read = events.from_record(json.loads(events.encode(event, "r")))
        again, run_again = apply(again, read), apply_to_run(run_again, read)
    assert again == model
    assert run_again == run
    assert ModelState.from_record(json.loads(json.dumps(model.to_record(), allow_nan=False))) == model
    assert RunInfo.from_record(json.loads(json.dumps(run.to_record(), allow_nan=False))) == run
    assert len(model.trend) <= TREND_LENGTH


def test_what_readers_ask_of_an_event_is_what_it_has() -> None:
    def needed(kind: type[events.Event]) -> set[str]:
        fields = [
            field for field in dataclasses.fields(kind) if field.default is field.default_factory is dataclasses.MISSING
        ]
        # Older records have none: what they have is collected from keys beside them.
        fields = [field for field in fields if field.name != "metrics"]
        return {"from" if field.name == "sender" else field.name for field in fields} - {"time"}

    assert {name: set(fields) for name, fields in _OF_EACH_EVENT.items()} == {
        name: needed(kind) for name, kind in events.KINDS.items()
    }


def test_a_diverged_epoch_is_null_and_says_so() -> None:
    event = events.EpochFinished(
        time=1.0, model="m", index=1, attempt=1, epoch=1, epochs=2, step=3, metrics={"loss": math.inf}, best_loss=None
    )
    record = events.to_record(event, "r")
    assert record["loss"] is None
    assert record["diverged"] is True
    assert apply(MODEL, event).diverged
    assert apply(MODEL, event).loss is None


def test_output_that_was_no_text_can_still_be_printed() -> None:
    line = events.encode(events.Decision(time=1.0, kind="plan", reason="a\udc80b"), "r")
    assert json.loads(line.encode("utf-8"))["reason"] == "a?b"


def test_who_sent_a_command_is_called_from() -> None:
    event = events.CommandAnswered(time=1.0, id="i", name="stop", arguments={}, sender="ui", outcome="done")
    record = events.to_record(event, "r")
    assert record["from"] == "ui"
    assert "sender" not in record


def test_newer_records_are_read_and_broken_ones_refused() -> None:
    record = events.to_record(events.Decision(time=1.0, kind="plan", reason="x"), "r")
    assert events.from_record({**record, "new": 1}) == events.Decision(time=1.0, kind="plan", reason="x")
    with pytest.raises(ValueError, match="unknown event 'dance'"):
        events.from_record({**record, "event": "dance"})
    del record["kind"]
    with pytest.raises(ValueError, match="incomplete event decision"):
        events.from_record(record)


def test_with_early_stopping_a_model_shows_all_metrics_of_its_best_epoch() -> None:
    about = {"model": "a", "index": 1, "attempt": 1, "time": 1.0}
    last = {"loss": 9.0, "validation_loss": 9.0, "own": 9.0, "learning_rate": 0.5}
    best = {"loss": 1.0, "validation_loss": 2.0, "own": 3.0}
    model = ModelState(name="a", index=1, seed=0, epochs=9)
    model = apply(model, events.EpochFinished(**about, metrics=last, epoch=4, epochs=9, step=4, best_loss=1.0))
    done = apply(model, events.ModelCompleted(**about, metrics=best, path="x", best_epoch=2))
    assert done.metrics == {**best, "learning_rate": 0.5}
    assert apply(model, events.ModelCompleted(**about, metrics=best, path="x")).metrics == last


def test_records_from_before_metrics_were_a_table_are_read() -> None:
    about = {"v": 1, "time": 1.0, "run": "r", "model": "a", "index": 1, "attempt": 1}
    epoch = {"event": "epoch_finished", "epoch": 1, "epochs": 2, "step": 3, "best_loss": 0.5, "seconds": 1.0}
    older = {"loss": 0.5, "validation_loss": 0.25, "validation_accuracy": None, "learning_rate": 0.1}
    event = events.from_record({**about, **epoch, **older})
    assert isinstance(event, events.EpochFinished)
    assert event.metrics == {"loss": 0.5, "validation_loss": 0.25, "learning_rate": 0.1}
    diverged = events.from_record({**about, **epoch, "loss": None, "diverged": True})
    assert isinstance(diverged, events.EpochFinished)
    assert math.isnan(diverged.metrics["loss"] or 0.0)
    state = {"name": "a", "index": 1, "seed": 0, "epochs": 9, "phase": "training", **older}
    assert ModelState.from_record(state).metrics == event.metrics


def test_the_keys_from_before_metrics_were_a_table_stay_beside_it() -> None:
    about = {"time": 1.0, "model": "a", "index": 1, "attempt": 1}
    event = events.EpochFinished(
        **about, epoch=1, epochs=2, step=3, metrics={"loss": 0.5, "steps_per_second": 9.0, "own": 1.0}, best_loss=0.5
    )
    record = events.to_record(event, "r")
    assert record["metrics"] == {"loss": 0.5, "steps_per_second": 9.0, "own": 1.0}
    older = ("loss", "validation_loss", "validation_accuracy", "validation_perplexity", "validation_metric",
             "learning_rate", "steps_per_second")  # fmt: skip
    assert {name: record[name] for name in older} == {**dict.fromkeys(older), "loss": 0.5, "steps_per_second": 9.0}


def test_a_model_without_a_loss_has_no_trend() -> None:
    """A loss that is NaN is a part of the trend; one that is not reported is none."""
    model = ModelState(name="cognate_command_1", index=1, seed=0, epochs=9)
    for epoch, metrics in enumerate(({"reward": 1.0}, {"loss": 2.0}, {"reward": 3.0}, {"loss": math.nan}), 1):
        model = apply(
            model,
            events.EpochFinished(
                time=1.0, model=model.name, index=1, attempt=1, epoch=epoch, epochs=9, step=epoch, metrics=metrics,
                best_loss=None,
            ),
        )  # fmt: skip
    assert model.trend == (2.0, None)
