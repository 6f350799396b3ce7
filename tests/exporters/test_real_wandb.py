"""What W&B's own reader finds in its offline runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from growing_runs import GrowingRun
from run_directories import RunMaker
from running import begin, forge, wait_until
from told_story import Arrived, expected, exporting, tell
from wandb_reader import records

from forge_tui.exporters import wandb_runs
from forge_tui.exporters.names import name_for_wandb

pytest.importorskip("wandb", reason="wandb is not installed")


def offline(here: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of all offline runs, by the name of the run."""
    found: dict[str, list[dict[str, Any]]] = {}
    for directory in sorted((here / "growing-wandb" / "wandb").glob("offline-run-*")):
        read = records(directory)
        (name,) = {run["display_name"] for run in of(read, "run")}
        assert name not in found
        found[name] = read
    return found


def of(read: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in read if record["type"] == kind]


def rows(read: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of history."""
    return [record["item"] for record in of(read, "history")]


def arrived(here: Path) -> Arrived:
    found: Arrived = {}
    for name, read in offline(here).items():
        for row in rows(read):
            for key, value in row.items():
                if key not in ("_step", "_runtime", "_timestamp"):
                    found.setdefault(name, {}).setdefault(key, []).append((row["_step"], float(value)))
    return found


def test_its_reader_finds_the_run_that_was_told(maker: RunMaker, tmp_path: Path) -> None:
    run = tell(maker, exporting("wandb", tmp_path))
    found, wanted = arrived(tmp_path), expected(run, name_for_wandb)
    for metrics in found.values():
        metrics.pop("steps_per_second")
    assert found == wanted
    history = run.expected()["cognate_planner_2"]
    assert [row["_timestamp"] for row in rows(offline(tmp_path)["cognate_planner_2"])] == [
        epoch.time for epoch in history
    ]


def test_settings_summary_and_end(maker: RunMaker, tmp_path: Path) -> None:
    tell(maker, exporting("wandb", tmp_path, "--project", "planners"))
    read = offline(tmp_path)["cognate_planner_1"]
    told = of(read, "run")
    assert {(run["project"], run["run_group"]) for run in told} == {("planners", "growing")}
    assert told[-1]["tags"] == ["completed"]
    config = told[0]["config"]["update"]
    assert {name: config[name] for name in ("seed", "learning_rate", "batch_size", "layers")} == {
        "seed": 42, "learning_rate": 0.001, "batch_size": 32, "layers": "[64, 64]",
    }  # fmt: skip
    summary: dict[str, Any] = {}
    for record in of(read, "summary"):
        summary |= record["update"]
    assert summary["phase"] == "completed"
    assert summary["test/loss"] == 0.125
    assert of(read, "exit") == [{"exit_code": 0}]


def test_a_loss_that_is_not_a_number_arrives_as_one(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1], {"loss": math.nan})
    exporting("wandb", tmp_path)(run)
    ((step, value),) = arrived(tmp_path)["cognate_planner_1"]["loss"]
    assert step == 1
    assert math.isnan(value)


def test_more_models_than_may_be_open_are_written_when_they_end(
    maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_runs, "_MOST_OPEN", 1)
    run = GrowingRun(maker, models=3)
    for index in (1, 2, 3):
        run.train(index, [1, 2])
    exporting("wandb", tmp_path)(run)
    assert {name: [step for step, _ in found["loss"]] for name, found in arrived(tmp_path).items()} == {
        f"cognate_planner_{index}": [1, 2] for index in (1, 2, 3)
    }


def test_a_run_is_followed_to_its_end_in_one_offline_run(maker: RunMaker, tmp_path: Path) -> None:
    """W&B writes its file every 15 s: only what is there at the end can be looked at soon."""
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    following = begin("export", run.path, "--to", "wandb", "--follow", cwd=tmp_path)
    wait_until(lambda: [*(tmp_path / "growing-wandb").glob("wandb/offline-run-*/*.wandb")], "the offline run")
    run.train(1, [2, 3])
    run.end()
    _, err = following.communicate(timeout=60)
    assert following.returncode == 0, err
    assert [step for step, _ in arrived(tmp_path)["cognate_planner_1"]["loss"]] == [1, 2, 3]


def test_what_a_killed_export_has_left_is_replaced(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    exporting("wandb", tmp_path)(run)
    (directory,) = (tmp_path / "growing-wandb" / "wandb").glob("offline-run-*")
    (directory / wandb_runs._MARKER).unlink()
    assert "1 epoch written" in forge("export", run.path, "--to", "wandb", cwd=tmp_path).stderr
    assert [step for step, _ in arrived(tmp_path)["cognate_planner_1"]["loss"]] == [1]


def test_other_offline_runs_in_its_directory_stay(maker: RunMaker, tmp_path: Path) -> None:
    """They are the user's, who has called `wandb.init` there."""
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    exporting("wandb", tmp_path)(run)
    own = tmp_path / "growing-wandb" / "wandb" / "offline-run-20261201_000000-abcdefgh"
    own.mkdir()
    run.train(1, [2])
    exporting("wandb", tmp_path)(run)
    assert own.is_dir()
    assert len([*own.parent.glob("offline-run-*")]) == 2
