"""`forge-tui best`: the path of the best model, and what is said where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_directories import RunMaker

from forge_tui.cli import main
from forge_tui.protocol.phases import RunState, TrainingPhase


def with_files(path: Path, *indices: int) -> Path:
    for index in indices:
        for ending in ("json", "safetensors"):
            (path / f"cognate_planner_{index}.{ending}").touch()
    return path


def test_the_path_alone_is_printed(maker: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    accuracies = (0.8, 0.9, 0.7)
    models = [maker.model(index, validation_accuracy=value) for index, value in enumerate(accuracies, 1)]
    path = with_files(maker.make("one", RunState.FAILED, [*models, maker.failed(4)]), 1, 2, 3)
    for named in (str(path), "one"):
        assert main(["best", named]) == 0
        assert capsys.readouterr() == (f"{path / 'cognate_planner_2'}\n", "")
    assert main(["best"]) == 0
    assert capsys.readouterr().out == f"{path / 'cognate_planner_2'}\n"


def test_a_run_that_was_moved_has_its_models_where_it_is_now(
    maker: RunMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_files(maker.make("one", models=[maker.model(1, path="/elsewhere/cognate_planner_1")]), 1)
    moved = path.rename(tmp_path / "moved")
    assert main(["best", str(moved)]) == 0
    assert capsys.readouterr().out == f"{moved / 'cognate_planner_1'}\n"


def test_json_tells_why_and_all_about_it(maker: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    unvalidated = {"validation_accuracy": None, "validation_loss": None}
    models = [maker.model(1, loss=0.5, **unvalidated), maker.model(2, loss=0.25, **unvalidated)]
    path = with_files(maker.make("one", models=models), 1, 2)
    assert main(["best", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    record = told.pop("model")
    assert told == {
        "run": "one", "state": "completed", "path": str(path / "cognate_planner_2"), "metric": "loss", "value": 0.25,
        "goal": "lower", "best_is": "least", "completed": 2, "models": 2,
    }  # fmt: skip
    assert (record["name"], record["seed"], record["config"]["batch_size"]) == ("cognate_planner_2", 43, 32)


def test_a_live_run_warns_that_others_may_become_better(maker: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    models = [maker.model(1), maker.model(2, TrainingPhase.TRAINING, epoch=5), maker.model(3, TrainingPhase.QUEUED)]
    path = with_files(maker.make("one", RunState.RUNNING, models), 1)
    assert main(["best", str(path)]) == 0
    out, said = capsys.readouterr()
    assert out == f"{path / 'cognate_planner_1'}\n"
    assert said == "warning: 2 of 3 models may still become better\n"


@pytest.mark.parametrize(
    ("state", "phase", "words"),
    [
        (RunState.RUNNING, TrainingPhase.TRAINING, " yet (running); `forge-tui wait one`"),
        (RunState.STOPPED, TrainingPhase.QUEUED, " (stopped); `forge-tui resume one`"),
        (RunState.DIED, TrainingPhase.TRAINING, " (died); `forge-tui resume one`"),
    ],
)  # fmt: skip
def test_without_a_completed_model_it_fails_in_words(
    maker: RunMaker, capsys: pytest.CaptureFixture[str], state: RunState, phase: TrainingPhase, words: str
) -> None:
    path = maker.make("one", state, [maker.model(1, phase, epoch=5)])
    assert main(["best", str(path)]) == 1
    out, said = capsys.readouterr()
    assert out == ""
    assert f"run one: no model is completed{words}" in said


def test_files_that_are_gone_are_named(maker: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_files(maker.make("one", models=[maker.model(1)]), 1)
    (path / "cognate_planner_1.safetensors").unlink()
    assert main(["best", str(path)]) == 4
    assert f"{path / 'cognate_planner_1.safetensors'} is missing" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "status"), [("nowhere", 2), ("empty", 4)])
def test_a_run_that_is_not_there_is_told_as_by_other_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, status: int
) -> None:
    (tmp_path / "empty").mkdir()
    told = []
    for command in ("best", "status"):
        assert main([command, str(tmp_path / name)]) == status
        told.append(capsys.readouterr())
    assert told[0] == told[1]
    assert told[0].out == ""
    assert name in told[0].err
