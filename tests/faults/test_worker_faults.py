"""Whatever training code does to its worker: the record says what, the model is tried again, the others see nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import Done, environment, left_behind, planner, train
from running import SMALL, forge, kill_all

FAULTS = (
    "none", "raise", "exit", "_exit", "sleep", "busy", "native hang", "native crash", "stop", "noise", "unprintable",
    "huge", "close", "child", "daemon", "child and end", "thread",
)  # fmt: skip
UNRETRIED = ("raise", "nan")
"""These come about in every attempt of the last models."""
FIRST_UNRETRIED = len(FAULTS) + 1
ARGUMENTS = (
    "--epochs", "8", "--checkpoint-interval", "3", "--mode", "parallel", "--workers", "2", "--hang-seconds", "2",
    "--models", str(len(FAULTS) + len(UNRETRIED)), "--max-retries", "1", *SMALL,
)  # fmt: skip


def index_of(fault: str) -> int:
    return FAULTS.index(fault) + 1


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker-faults")


@pytest.fixture(scope="module")
def undisturbed(base: Path) -> Done:
    with environment(base):
        return train(base / "undisturbed", *ARGUMENTS)


@pytest.fixture(scope="module")
def faulty(base: Path) -> Iterator[Done]:
    """The same run with a fault in epoch 5 of all models but the first."""
    plan = {number: {"do": fault, "epoch": 5, "attempts": 1} for number, fault in enumerate(FAULTS, 1)}
    plan |= {number: {"do": fault, "epoch": 5} for number, fault in enumerate(UNRETRIED, FIRST_UNRETRIED)}
    del plan[1]
    directory = base / f"faulty-{os.getpid()}"  # no other run on this machine has that name
    with environment(base, plan):
        done = train(directory, *ARGUMENTS)
    yield done
    kill_all(left_behind(directory))


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("raise", "exception", r"ValueError: the user's own loss function gave up"),
        ("exit", "exit", r"the training code called sys\.exit\('enough'\)"),
        ("_exit", "exit", r"worker \d+ ended with status 3 before the model was finished"),
        ("sleep", "hang", r"worker \d+ has made no step for 2 s \(\[run\] hang_seconds\)"),
        ("busy", "hang", r"worker \d+ has made no step for 2 s \(\[run\] hang_seconds\)"),
        ("native hang", "hang", r".* for 2 s .* does not answer \(stopped, or stuck in native code\)"),
        ("stop", "hang", r".* for 2 s .* does not answer \(stopped, or stuck in native code\)"),
        ("native crash", "signal", r"worker \d+ was killed by SIGSEGV before the model was finished"),
        ("noise", "exception", r"(?s)RuntimeError: noise .*\[bold\]no markup\[/bold\]"),
        ("unprintable", "exception", r"Unprintable: \(no message: RuntimeError in its __str__\)"),
        ("huge", "exception", r"ValueError: x+ … \(2998012 characters are left out\) … x+"),
        ("close", "exit", r"worker \d+ ended with status 1 before the model was finished"),
        ("child and end", "exit", r"worker \d+ ended with status 5 before the model was finished"),
    ],
)
def test_fault_is_recorded_and_the_model_is_tried_again_to_the_same_bytes(
    fault: str, kind: str, message: str, faulty: Done, undisturbed: Done
) -> None:
    index = index_of(fault)
    (failed,) = faulty.of(index, "model_failed")
    assert (failed["kind"], failed["attempt"], failed["will_retry"]) == (kind, 1, True)
    # The place is that of the code which raises.
    assert re.fullmatch(message + r"( \(\S+\.py, line \d+\))?", failed["message"]), failed["message"]
    (retried,) = faulty.of(index, "model_retried")
    assert (retried["attempt"], retried["from_epoch"], retried["reason"]) == (2, 3, failed["message"])
    assert len(faulty.of(index, "model_completed")) == 1
    assert faulty.weights_of(index) == undisturbed.weights_of(index) is not None


@pytest.mark.parametrize("fault", ["raise", "exit", "noise", "unprintable", "huge", "sleep", "busy"])
def test_the_record_has_the_place_in_the_code(fault: str, faulty: Done) -> None:
    (failed,) = faulty.of(index_of(fault), "model_failed")
    assert "sitecustomize.py" in failed["traceback"]
    assert len(failed["traceback"]) < 60_000


@pytest.mark.parametrize("fault", ["none", "child", "daemon", "thread"])
def test_models_beside_faults_and_with_harmless_ones_see_nothing(fault: str, faulty: Done, undisturbed: Done) -> None:
    index = index_of(fault)
    assert faulty.of(index, "model_failed") == []
    assert faulty.weights_of(index) == undisturbed.weights_of(index) is not None


def test_fault_in_every_attempt_fails_the_model_after_its_retries(faulty: Done) -> None:
    failed = faulty.of(FIRST_UNRETRIED, "model_failed")
    assert [(record["attempt"], record["will_retry"]) for record in failed] == [(1, True), (2, False)]
    assert faulty.weights_of(FIRST_UNRETRIED) is None
    assert (faulty.status, faulty.events[-1]["status"]) == (1, "failed")


def test_divergence_is_not_retried_where_the_settings_say_fail(faulty: Done) -> None:
    (failed,) = faulty.of(FIRST_UNRETRIED + 1, "model_failed")
    assert (failed["kind"], failed["will_retry"]) == ("diverged", False)
    assert failed["message"].startswith("the loss of epoch 5 is nan: training has diverged; lower --learning-rate")
    assert faulty.of(FIRST_UNRETRIED + 1, "epoch_finished")[-1]["loss"] is None


def test_user_is_told_in_words_that_steer_no_terminal(faulty: Done, base: Path) -> None:
    with environment(base):
        report, status = forge("report", faulty.directory).stdout, forge("status", faulty.directory).stdout
    assert f"{planner(index_of('native crash'))} attempt 1 failed (signal): worker " in report
    assert f"{planner(FIRST_UNRETRIED)} failed (exception, attempt 2): ValueError: the user's own loss" in faulty.err
    for text in (report, status):
        assert "training has diverged" in text
        assert re.findall(r"[^\n\x20-\x7e…—“”’äöü×]", text) == []


def test_nothing_is_left_behind(faulty: Done) -> None:
    assert left_behind(faulty.directory) == []


# --- on_divergence = "lower"


@pytest.fixture(scope="module")
def lowered(base: Path) -> Done:
    """Model 1 diverges once in epoch 5, model 2 in every attempt; model 3 does not."""
    plan = {1: {"do": "nan", "epoch": 5, "attempts": 1}, 2: {"do": "nan", "epoch": 5}}
    arguments = (*ARGUMENTS, "--models", "3", "--on-divergence", "lower", "--divergence-factor", "0.25")
    with environment(base, plan):
        return train(base / f"lowered-{base.name}", *arguments)


def test_diverged_model_goes_back_to_its_checkpoint_with_a_lower_rate(lowered: Done) -> None:
    (failed,), (retried,) = lowered.of(1, "model_failed"), lowered.of(1, "model_retried")
    assert (failed["kind"], failed["will_retry"]) == ("diverged", True)
    assert (retried["from_epoch"], retried["learning_rate_factor"]) == (3, 0.25)
    rates = [(record["epoch"], record["learning_rate"]) for record in lowered.of(1, "epoch_finished")]
    assert rates == [*((epoch, 0.001) for epoch in range(1, 6)), *((epoch, 0.00025) for epoch in range(4, 9))]
    assert all(record["loss"] is not None for record in lowered.of(1, "epoch_finished") if record["attempt"] == 2)


def test_divergence_at_every_rate_fails_after_the_retries(lowered: Done) -> None:
    """The second one is from the start: to go back further costs no retry."""
    failed = lowered.of(2, "model_failed")
    assert [(record["attempt"], record["will_retry"]) for record in failed] == [(1, True), (2, True), (3, False)]
    retried = lowered.of(2, "model_retried")
    assert [(record["from_epoch"], record["learning_rate_factor"]) for record in retried] == [(3, 0.25), (0, 0.0625)]
    assert "(now 6.25e-05)" in failed[2]["message"]


def test_divergence_does_nothing_to_the_others(lowered: Done, undisturbed: Done) -> None:
    assert lowered.weights_of(3) == undisturbed.weights_of(3) is not None


def test_lower_rate_is_kept_by_resume(lowered: Done, base: Path) -> None:
    with environment(base):
        resumed = forge("resume", lowered.directory, "--no-ui", "--json", "--epochs", "9", status=None)
    assert '"epoch":9,' in resumed.stdout
    with environment(base):
        rows = forge("report", lowered.directory, "--format", "csv").stdout.splitlines()
    names = rows[0].split(",")
    last = dict(
        zip(names, next(row for row in rows if f"{planner(1)}," in row and ",9," in row).split(","), strict=True)
    )
    assert (last["epoch"], float(last["learning_rate"])) == ("9", 0.00025)
