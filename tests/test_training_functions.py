"""Whole runs of training functions: names, sweeps, kills, stops, halving, failures, checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import begin, epochs_of, events, forge, has_ended, kill_all, processes_of, wait_until, weights

from forge_tui import client
from forge_tui.client.run import Run

LOOP = """
import time
from pathlib import Path

import torch
from torch import nn


def train(trial, lr: float = 0.1, seconds: float = 0.0):
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    targets = inputs[:, :1] * inputs[:, 1:2]
    first = 1
    if (state := trial.restore()) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
    for epoch in range(first, trial.epochs + 1):
        for rows in torch.randperm(64).split(16):
            loss = (model(inputs[rows]) - targets[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        time.sleep(seconds)
        trial.report({"val/loss": loss.detach() * 2}, loss=loss, epoch=epoch, goal={"val/loss": "lower"})
        trial.checkpoint({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch})
    trial.save(model)


def raises(trial):
    trial.report(loss=1.0)
    raise RuntimeError("no data today")


def misuses(trial):
    trial.checkpoint({"optimizer": {"lr": object()}})


def counts(trial, score: int):
    for epoch in range(1, trial.epochs + 1):
        trial.report(epoch=epoch, score=score, goal={"score": "higher"})
    (trial.directory / "notes.txt").write_text(str(score))


def silent(trial):
    Path(trial.directory / "called").touch()
    Path("called").touch()
"""
RUN = ("--no-ui", "--policy", "dedicated", "--threads", "1", "--models", "1")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "loop.py").write_text(LOOP, encoding="utf-8")
    return tmp_path


def test_killed_and_resumed_loops_give_the_bytes_of_undisturbed_ones(place: Path) -> None:
    """A sweep over a parameter of the function, in parallel; a worker is killed, then the whole run."""
    run = (
        *RUN, "--train", "loop.py", "--sweep", "model.lr=0.1,0.01", "--mode", "parallel", "--workers", "2",
        "--epochs", "20",
    )  # fmt: skip
    forge(*run, "--output", "whole", cwd=place)
    process = begin(*run, "--set", "model.seconds=0.05", "--output", "broken", cwd=place)
    broken = place / "broken"
    try:
        wait_until(lambda: epochs_of(broken) >= 3, "some epochs")
        kill_all(processes_of(broken, "cognate_loop_1"))
        wait_until(lambda: _attempt(broken) == 2 and epochs_of(broken) >= 6, "epochs of the second attempt")
        kill_all(processes_of(broken))
        wait_until(lambda: has_ended(broken), "all processes are gone")
    finally:
        process.kill()
        process.communicate()
    forge("resume", broken, "--no-ui", cwd=place)
    assert list(weights(broken)) == ["cognate_loop_1.safetensors", "cognate_loop_2.safetensors"]
    assert weights(broken) == weights(place / "whole")
    records = [json.loads((place / name / "cognate_loop_1.json").read_bytes()) for name in ("whole", "broken")]
    assert [record["exact"] for record in records] == [True, True]
    assert records[0]["settings"]["model"] == {"lr": 0.1}
    for record in records:
        assert [epoch["epoch"] for epoch in record["history"]] == list(range(1, 21))
    assert [e["metrics"] for e in records[0]["history"]] == [e["metrics"] for e in records[1]["history"]]
    with client.attach(broken) as attached:
        shown = attached.snapshot()
        assert [epoch.epoch for epoch in attached.history(1)] == list(range(1, 21))
    assert [model.combination for model in shown.models] == [{"lr": 0.1}, {"lr": 0.01}]
    assert {m["name"]: m["goal"] for m in shown.run.metrics} == {"loss": "lower", "val/loss": "lower"}
    said = forge("sample", broken, "1", status=2).stderr
    assert "was trained by --train" in said
    assert "safetensors.torch.load_file" in said


def _attempt(directory: Path) -> int:
    with Run(directory) as run:
        return run.snapshot().models[0].attempt


def test_a_stopped_run_goes_on_where_it_was(place: Path) -> None:
    run = (*RUN, "--train", "loop.py", "--epochs", "15", "--set", "model.seconds=0.1", "--output", "run")
    process = begin(*run, cwd=place)
    wait_until(lambda: epochs_of(place / "run") >= 2, "some epochs")
    forge("stop", place / "run")
    process.communicate()
    with client.attach(place / "run") as attached:
        (model,) = attached.snapshot().models
    assert model.checkpoint_epoch == model.epoch < 15
    lines = events(forge("resume", place / "run", "--json", cwd=place).stdout)
    assert [line["epoch"] for line in lines if line["event"] == "epoch_finished"] == list(range(1, 16))
    assert lines[-1]["status"] == "completed"


def test_the_metric_with_a_declared_goal_halves_and_ranks(place: Path) -> None:
    run = (
        *RUN, "--train", "loop.py:counts", "--sweep", "model.score=2,3,1", "--epochs", "3", "--halving", "3",
        "--set", "training.select_by=score", "--output", "run",
    )  # fmt: skip
    lines = events(forge(*run, "--json", cwd=place).stdout)
    done = [line for line in lines if line["event"] == "model_completed"]
    assert [line["model"] for line in done] == ["cognate_counts_1", "cognate_counts_2"]
    pruned = [line["reason"] for line in lines if line["event"] == "decision" and line["kind"] == "prune"]
    assert pruned == ["cognate_counts_3 pruned at epoch 1: rank 3 of 3"]
    files = place / "run" / "checkpoints" / "cognate_counts_1" / "files"
    assert (done[0]["path"], done[0]["parameters"], done[0]["exact"]) == (str(files), None, None)
    assert (files / "notes.txt").read_text() == "2"
    assert not weights(place / "run")
    record = json.loads((place / "run" / "cognate_counts_2.json").read_bytes())
    assert [record[name] for name in ("parameters", "sha256", "exact", "metrics")] == [None, None, None, {"score": 3.0}]
    assert "cognate_counts_2" in forge("best", place / "run").stdout
    forge("rm", place / "run", "--yes", status=None)
    assert not (place / "run").exists()


def test_failures_are_told_with_the_line_and_misuse_is_not_tried_again(place: Path) -> None:
    lines = events(forge(*RUN, "--json", "--train", "loop.py:misuses", "--output", "a", cwd=place, status=1).stdout)
    (failed,) = [line for line in lines if line["event"] == "model_failed"]
    assert failed["will_retry"] is False
    assert "state['optimizer']['lr'] is a object" in failed["message"]
    assert "loop.py, line 37)" in failed["message"]
    run = (*RUN, "--json", "--train", "loop.py:raises", "--set", "run.max_retries=1", "--output", "b")
    lines = events(forge(*run, cwd=place, status=1).stdout)
    failed_twice = [line for line in lines if line["event"] == "model_failed"]
    assert [line["will_retry"] for line in failed_twice] == [True, False]
    assert "RuntimeError: no data today" in failed_twice[0]["message"]


def test_a_check_calls_the_function_until_its_first_report_and_a_start_does_not(place: Path) -> None:
    said = forge("--check", *RUN, "--train", "loop.py", cwd=place).stdout
    assert "1 loop models, and the training function's first report was val/loss " in said
    assert not (place / "runs").exists()
    said = forge("--check", *RUN, "--train", "loop.py:raises", "--set", "model.x=1", cwd=place).stdout
    assert "first report was loss 1" in said
    said = forge("--check", *RUN, "--train", "loop.py:misuses", cwd=place, status=2).stderr
    assert "state['optimizer']['lr'] is a object" in said
    forge(*RUN, "--train", "loop.py:silent", "--output", "run", cwd=place)
    assert len(list(place.rglob("called"))) == 2
