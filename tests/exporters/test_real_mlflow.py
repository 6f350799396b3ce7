"""What MLflow's client reads from its SQLite store."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from growing_runs import GrowingRun
from run_directories import RunMaker
from running import forge
from told_story import Arrived, expected, exporting, tell

from forge_tui.exporters import mlflow_store
from forge_tui.exporters.names import name_for_mlflow

mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")


def client(here: Path) -> Any:
    return mlflow.MlflowClient(f"sqlite:///{here / 'mlflow.db'}")


def runs(here: Path, project: str = "forge-tui") -> dict[str, Any]:
    """The MLflow runs by name."""
    found = client(here)
    experiment = found.get_experiment_by_name(project)
    read = found.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in read}) == len(read)
    return {run.info.run_name: run for run in read}


def arrived(here: Path) -> Arrived:
    """All numbers of the models' runs."""
    found: Arrived = {}
    for name, run in runs(here).items():
        if "mlflow.parentRunId" in run.data.tags:
            for key in run.data.metrics:
                points = client(here).get_metric_history(run.info.run_id, key)
                found.setdefault(name, {})[key] = sorted((point.step, point.value) for point in points)
    return found


def test_its_client_reads_the_run_that_was_told(maker: RunMaker, tmp_path: Path) -> None:
    run = tell(maker, exporting("mlflow", tmp_path, "--output", "mlflow.db"))
    found, wanted = arrived(tmp_path), expected(run, name_for_mlflow)
    wanted["cognate_planner_1"]["test/loss"] = [(4, 0.125)]
    for metrics in found.values():
        metrics.pop("steps_per_second")
    assert found == wanted
    (history,) = (history for name, history in run.expected().items() if name.endswith("1"))
    child = runs(tmp_path)["cognate_planner_1"]
    points = client(tmp_path).get_metric_history(child.info.run_id, "loss")
    assert [point.timestamp for point in points][:2] == [round(epoch.time * 1000) for epoch in history][:2]


def test_settings_tags_and_status(maker: RunMaker, tmp_path: Path) -> None:
    tell(maker, exporting("mlflow", tmp_path, "--output", "mlflow.db", "--project", "planners"))
    found = runs(tmp_path, "planners")
    assert sorted(found) == ["cognate_planner_1", "cognate_planner_2", "growing"]
    whole, first, second = found["growing"], found["cognate_planner_1"], found["cognate_planner_2"]
    assert first.data.params == {
        "seed": "42", "learning_rate": "0.001", "batch_size": "32", "grokfast_enabled": "True", "layers": "[64, 64]",
    }  # fmt: skip
    assert (first.data.tags["phase"], first.data.tags["seed"]) == ("completed", "42")
    assert first.data.tags["mlflow.parentRunId"] == whole.info.run_id
    assert [run.info.status for run in (whole, first, second)] == ["KILLED", "FINISHED", "KILLED"]
    assert whole.data.tags["state"] == "stopped"


def test_a_loss_that_is_not_a_number_arrives_as_one(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1], {"loss": math.nan})
    exporting("mlflow", tmp_path, "--output", "mlflow.db")(run)
    ((step, value),) = arrived(tmp_path)["cognate_planner_1"]["loss"]
    assert step == 1
    assert math.isnan(value)


def test_an_export_that_was_killed_in_a_model_is_completed_without_duplicates(
    maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's mark is written last; MLflow keeps equal numbers of one time once."""
    run = GrowingRun(maker, models=1)
    run.train(1, range(1, 30))
    monkeypatch.setattr(mlflow_store, "_MOST_METRICS", 10)
    with monkeypatch.context() as patch:
        real, calls = mlflow.MlflowClient.log_batch, []

        def killed(self: Any, *given: Any, **named: Any) -> Any:
            calls.append(named)
            if len(calls) == 8:
                raise KeyboardInterrupt
            return real(self, *given, **named)

        patch.setattr(mlflow.MlflowClient, "log_batch", killed)
        forge("export", run.path, "--to", "mlflow", "--output", "mlflow.db", cwd=tmp_path, status=130)
    assert 0 < len(arrived(tmp_path)["cognate_planner_1"]["loss"]) < 29
    exporting("mlflow", tmp_path, "--output", "mlflow.db")(run)
    found = arrived(tmp_path)["cognate_planner_1"]
    assert [step for step, _ in found["loss"]] == [*range(1, 30)]
    assert len(runs(tmp_path)) == 2


def test_errors_of_mlflow_are_told_in_words(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    done = forge("export", run.path, "--to", "mlflow", "--output", "mlflow.db", cwd=tmp_path, status=1)
    assert "MLflow at sqlite:///" in done.stderr
    assert "not a database" in done.stderr
