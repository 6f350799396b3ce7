"""Runs whose models diverge and go back: alone, in a group, killed, and resumed after they have failed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import exploding_code
import pytest
from depth import deep
from running import begin, events, forge, has_ended, processes_of, wait_until, weights

from forge_tui.client.run import Run
from forge_tui.errors import RunDirectoryError

CODE = Path(exploding_code.__file__)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(CODE.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def arguments(epochs: int, *more: str) -> tuple[str, ...]:
    return (
        "--no-ui", "--json", "--policy", "dedicated", "--threads", "1", "--models", "1", "--model-type", "net.py",
        "--dataset", "net.py", "--loss", "net.py", "--set", "data.validation_fraction=0",
        "--set", "data.normalise=false",
        "--batch-size", "2", "--optimizer", "sgd", "--epochs", str(epochs),
        "--checkpoint-interval", "1", "--on-divergence", "lower",
        *(() if "--sweep" in more else ("--learning-rate", "1")), *more,
    )  # fmt: skip


def of(lines: list[dict[str, Any]], kind: str, index: int = 1) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == kind and line["index"] == index]


def rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(forge("report", run, "--format", "csv").stdout)))


def test_it_goes_back_further_each_time_and_is_completed(place: Path) -> None:
    lines = events(forge(*arguments(12, "--max-retries", "1", "--output", "run"), cwd=place).stdout)
    retried = of(lines, "model_retried")
    assert [(line["from_epoch"], line["learning_rate_factor"], line["to_step"]) for line in retried] == [
        (2, 0.5, 10), (1, 0.25, 5), (0, 0.125, 0),
    ]  # fmt: skip
    assert [line["will_retry"] for line in of(lines, "model_failed")] == [True] * 3
    (done,) = of(lines, "model_completed")
    assert done["exact"] is True
    told = rows(place / "run")  # epochs that were trained again replace those before
    assert [int(row["epoch"]) for row in told] == list(range(1, 13))
    assert {float(row["learning_rate"]) for row in told} == {0.125}
    assert [path.name for path in (place / "run" / "checkpoints" / "cognate_net_1").iterdir()] == [
        "step-000000000060-attempt-4.safetensors"
    ]


def test_it_fails_in_the_end_and_a_resume_goes_back_too(place: Path) -> None:
    """With the rate that failed it would only diverge again."""
    run = arguments(24, "--max-retries", "1", "--output", "run")
    lines = events(forge(*run, cwd=place, status=1).stdout)
    assert [line["from_epoch"] for line in of(lines, "model_retried")] == [2, 1, 0]
    assert [line["will_retry"] for line in of(lines, "model_failed")] == [True, True, True, False]
    lines = events(forge("resume", "run", "--no-ui", "--json", cwd=place).stdout)
    retried = of(lines, "model_retried")[3]  # those of before are shown too
    assert (retried["from_epoch"], retried["learning_rate_factor"], retried["rollbacks"]) == (0, 0.0625, 4)
    assert len(of(lines, "model_failed")) == 4
    assert {float(row["learning_rate"]) for row in rows(place / "run")} == {0.0625}
    record = json.loads((place / "run" / "cognate_net_1.json").read_bytes())
    assert (record["learning_rate_factor"], record["epochs_completed"], record["exact"]) == (0.0625, 24, True)


def test_one_of_a_group_goes_back_alone_and_the_others_go_on(place: Path) -> None:
    run = arguments(12, "--mode", "parallel", "--fuse", "3", "--sweep", "learning_rate=1.0,0.01,0.02")
    lines = events(forge(*run, "--output", "run", cwd=place).stdout)
    assert [(line["from_epoch"], line["learning_rate_factor"]) for line in of(lines, "model_retried")] == [
        (2, 0.5), (1, 0.25), (0, 0.125),
    ]  # fmt: skip
    for index in (2, 3):
        assert of(lines, "model_failed", index) == of(lines, "model_retried", index) == []
        (done,) = of(lines, "model_completed", index)
        assert done["exact"] is True
    groups = [line["group"] for line in of(lines, "model_started")]
    assert [group and len(group) for group in groups] == [3, None, None, None]


def rollbacks_of(run: Path) -> int:
    try:
        with Run(run) as opened:
            return opened.snapshot().models[0].rollbacks
    except (RunDirectoryError, IndexError):
        return 0


@pytest.mark.parametrize("rollbacks", [deep(1), 2, deep(3)])
def test_killed_after_it_went_back_it_ends_with_the_same_bytes(place: Path, rollbacks: int) -> None:
    forge(*arguments(12, "--output", "whole"), cwd=place)
    process = begin(*arguments(12, "--output", "killed"), cwd=place)
    try:
        wait_until(lambda: rollbacks_of(place / "killed") >= rollbacks, f"{rollbacks} rollbacks")
        for runner in processes_of(place / "killed", "runner"):
            runner.kill()
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: has_ended(place / "killed"), "the end of all its processes")
    forge("resume", "killed", "--no-ui", cwd=place, status=None)  # it may have been completed before
    assert weights(place / "killed") == weights(place / "whole") != {}
