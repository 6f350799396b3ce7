"""What a command's reports become: epochs, warnings, and reasons for it to end."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from forge_tui.protocol.events import EpochFinished, Event, ResourceWarned
from forge_tui.protocol.job import Job
from forge_tui.settings.schema import from_plain
from forge_tui.training.reporter import Reporter
from forge_tui.worker.command_reports import CommandReports


class Reported:
    """Reports of one attempt, and what they caused."""

    def __init__(self, job: Job) -> None:
        self.events: list[Event] = []
        self.declared: list[tuple[str, str]] = []
        self.rungs: list[tuple[int, float]] = []
        self.reports = CommandReports(
            job,
            from_plain(job.settings),
            Reporter(job, self.events.append),
            declare=lambda metrics: self.declared.extend((one["name"], one["goal"]) for one in metrics),
            at_rung=lambda epoch, measure: self.rungs.append((epoch, measure)),
            record=lambda report: self.take(report),
        )

    def take(self, *reports: dict[str, Any]) -> None:
        for report in reports:
            self.reports.line(json.dumps(report).encode())

    @property
    def epochs(self) -> list[tuple[int, dict[str, float | None]]]:
        return [(event.epoch, event.metrics) for event in self.events if isinstance(event, EpochFinished)]

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, ResourceWarned)]


@pytest.fixture
def make(make_job: Callable[..., Job]) -> Callable[..., Reported]:
    def made(rungs: tuple[int, ...] = (), **settings: Any) -> Reported:
        training = {"epochs": None, **settings.pop("training", {})}
        run = {"command": ["train"], **settings.pop("run", {})}
        job = make_job(training=training, run=run, **settings)
        return Reported(Job.from_record({**job.to_record(), "rungs": rungs}))

    return made


def test_reports_are_counted_unless_they_name_their_epoch(make: Callable[..., Reported]) -> None:
    reported = make()
    reported.take({"loss": 3}, {"loss": 2, "step": 40}, {"epoch": 7, "loss": 1.5}, {"epoch": 2, "loss": 1}, {"x": 0})
    assert reported.epochs == [
        (1, {"loss": 3.0}), (2, {"loss": 2.0}), (7, {"loss": 1.5}), (2, {"loss": 1.0}), (5, {"x": 0.0}),
    ]  # fmt: skip
    assert [(one.epoch, one.step, one.metrics) for one in reported.reports.progress.history()] == [
        (1, 0, {"loss": 3.0}), (2, 40, {"loss": 1.0}), (5, 40, {"x": 0.0}), (7, 40, {"loss": 1.5}),
    ]  # fmt: skip
    (*_, last) = [event for event in reported.events if isinstance(event, EpochFinished)]
    assert (last.epochs, last.best_loss, last.eta_seconds) == (None, 1.0, None)


def test_time_left_follows_from_the_number_of_epochs(make: Callable[..., Reported]) -> None:
    reported = make(training={"epochs": 4})
    reported.take({"loss": 1}, {"epoch": 4, "loss": 1}, {"epoch": 6, "loss": 1})
    events = [event for event in reported.events if isinstance(event, EpochFinished)]
    assert [event.epochs for event in events] == [4, 4, 6]
    assert events[0].eta_seconds is not None
    assert events[0].seconds is not None
    assert events[0].eta_seconds == pytest.approx(3 * events[0].seconds)
    assert [event.eta_seconds for event in events[1:]] == [0.0, 0.0]


def test_goals_are_declared_once(make: Callable[..., Reported]) -> None:
    reported = make()
    reported.take(*[{"f1": 0.5, "goal": {"f1": "higher"}}] * 2, {"goal": {"f1": "lower", "loss": "lower"}})
    assert reported.declared == [("f1", "higher"), ("f1", "lower")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"loss 3", "it is no JSON object"),
        (b"[1]", "it is no JSON object"),
        (b'{"loss": "low"}', "the metric loss is a str"),
        (b'{"loss": true}', "the metric loss is a bool"),
        (b'{"loss": [1]}', "the metric loss is a list"),
        (b'{"epoch": 0, "loss": 1}', "epoch must be a whole number, at least 1"),
        (b'{"epoch": 1.5, "loss": 1}', "epoch must be a whole number, at least 1"),
        (b'{"step": -1}', "step must be a whole number, at least 0"),
        (b'{"validation_accuracy": 93}', "is a share, from 0 to 1, and 93 is none"),
        (b'{"": 1}', "cannot be the name of a metric"),
        (b'{"f1": 1, "goal": {"f1": "up"}}', "must be 'higher' or 'lower'"),
        (b'{"f1": 1, "goal": {"loss": "higher"}}', "that name is reserved"),
        (b"\xff\xfe", "it is no JSON object"),
        (b"[" * 100_000, "it is no JSON object"),
    ],
)
def test_a_bad_line_is_left_out_and_shown(make: Callable[..., Reported], line: bytes, words: str) -> None:
    reported = make()
    reported.reports.line(line)
    reported.take({"loss": 1})
    assert reported.epochs == [(1, {"loss": 1.0})]
    (warning,) = reported.warnings
    assert words in warning
    assert len(warning) < 600
    assert not reported.reports.must_end


def test_only_the_first_bad_lines_are_told(make: Callable[..., Reported]) -> None:
    reported = make()
    for number in range(20):
        reported.reports.line(f"line {number}".encode())
    assert len(reported.warnings) == 5
    assert reported.warnings[-1].endswith("in: line 4; further ones are left out without a word")


def test_at_most_200_metrics_are_kept(make: Callable[..., Reported]) -> None:
    reported = make()
    reported.take({f"a{number}": 1 for number in range(200)}, {"b": 1}, {"a0": 2})
    assert [len(metrics) for _, metrics in reported.epochs] == [200, 1]
    assert "more than 200 different metrics" in reported.warnings[0]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "null"])
def test_a_loss_that_is_no_number_ends_the_command(make: Callable[..., Reported], text: str) -> None:
    reported = make()
    reported.reports.line(f'{{"accuracy": {text}, "loss": 1}}'.encode())
    assert reported.epochs == [(1, {"accuracy": None, "loss": 1.0})]
    assert reported.reports.diverged is None
    reported.reports.line(f'{{"loss": {text}}}'.encode())
    assert reported.reports.diverged is not None
    assert reported.reports.diverged.startswith("the loss of epoch 2 is ")
    loss = reported.epochs[-1][1]["loss"]
    assert loss is not None
    assert not math.isfinite(loss)
    reported.take({"loss": 1})
    assert len(reported.epochs) == 2


def test_what_an_earlier_attempt_reported_is_in_the_history_and_is_not_reported_again(
    make: Callable[..., Reported],
) -> None:
    reported = make()
    for line in (b'{"loss": 3}', b'{"loss": 2}', b"bad", b'{"loss": NaN}'):
        reported.reports.earlier_line(line)
    reported.reports.begin()
    assert reported.events == []
    reported.take({"loss": 5}, {"epoch": 9, "loss": 4})
    assert reported.epochs == [(1, {"loss": 5.0}), (9, {"loss": 4.0})]
    assert [(one.epoch, one.metrics["loss"]) for one in reported.reports.progress.history()][:2] == [(1, 5.0), (2, 2.0)]
    assert (reported.reports.progress.best_loss, reported.reports.progress.epoch) == (2.0, 9)


def test_a_report_at_a_rung_asks_once(make: Callable[..., Reported]) -> None:
    reported = make((1, 3, 9), training={"epochs": 27}, run={"halving": 3})
    reported.take(*({"epoch": epoch, "loss": 10 - epoch} for epoch in (1, 2, 4, 4, 9)))
    assert reported.rungs == [(1, 9.0), (3, 6.0), (9, 1.0)]


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"loss": 1}, "each report has to say which one it is of"),
        ({"epoch": 1, "f1": 1}, "report loss or validation_loss at every epoch"),
    ],
)
def test_halving_needs_the_epoch_and_the_measure(
    make: Callable[..., Reported], report: dict[str, Any], words: str
) -> None:
    reported = make((1, 3), training={"epochs": 9}, run={"halving": 3})
    reported.take(report)
    assert words in str(reported.reports.failure)
    assert reported.reports.must_end


def test_patience_ends_it_when_nothing_gets_better(make: Callable[..., Reported]) -> None:
    reported = make(training={"patience": 2, "min_delta": 0.1})
    reported.take({"loss": 1}, {"loss": 0.5}, {"loss": 0.45}, {"loss": 0.41})
    assert reported.reports.stopped_early == (
        "stopped early at epoch 4: its loss was not better since epoch 2 (training.patience = 2)"
    )


def test_objects_in_output_count_by_their_numbers(make: Callable[..., Reported]) -> None:
    reported = make()
    for line in (
        b"hello",
        b'{"event": "start"}',
        b'{"epoch": 3}',
        b'{"epoch": 4, "loss": 1, "ok": true, "of": "x"}',
        b"{x",
    ):
        reported.reports.json_output(line)
    assert reported.epochs == [(4, {"loss": 1.0})]
    assert reported.warnings == []


def test_a_pattern_finds_reports_in_lines(make: Callable[..., Reported]) -> None:
    reported = make()
    take = reported.reports.matched_by(re.compile(r"(?:(?P<epoch>\d+): )?loss=(?P<loss>\S+)( acc=(?P<acc>\S+))?"))
    for line in (b"> 3: loss=0.5 acc=1e-1", b"nothing", b"loss=2", b"loss=x", b"4: loss=nan"):
        take(line)
    assert reported.epochs[:2] == [(3, {"loss": 0.5, "acc": 0.1}), (2, {"loss": 2.0})]
    assert reported.reports.diverged == "the loss of epoch 4 is nan"
    assert "loss is no number, in: loss=x" in reported.warnings[0]
