"""The report of a run, as the command line and the UI write it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_directories import MESSAGE, RunMaker

from forge_tui import client
from forge_tui.analysis.ranking import best_model
from forge_tui.cli import main
from forge_tui.client.frames import EPOCH_COLUMNS
from forge_tui.errors import ForgeError
from forge_tui.protocol.energy import Energy
from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.metrics import BUILT_IN, old_keys
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.reports.run_report import FORMATS, ReportFormat, export_report, report_bytes


@pytest.fixture
def run(tmp_path: Path) -> Iterator[client.Run]:
    maker = RunMaker(tmp_path / "runs", now=100_000.0)
    models = [maker.model(1, epoch=3), maker.failed(2, epoch=2)]
    path = maker.make("a run", RunState.FAILED, models, reason="1 model failed\x1b[31m")
    with client.attach(path) as attached:
        yield attached
    maker.close()


def written(run: client.Run, form: ReportFormat) -> str:
    return report_bytes(run, form).decode()


def test_text_tells_state_models_and_failures(run: client.Run) -> None:
    lines = written(run, "text").splitlines()
    assert lines[0] == "Run a run: failed (1 model failed [31m)"
    assert lines[1] == "2 planner models, 100 epochs, parallel, policy shared"
    assert any("cognate_planner_2" in line and "failed" in line and MESSAGE in line for line in lines)


def test_text_json_and_page_tell_the_energy(tmp_path: Path) -> None:
    maker = RunMaker(tmp_path / "runs", now=100_000.0)
    energy = Energy(packages=90_000.0, cpu=18_000.0, gpus={"GPU-a": 54_000.0}, intensity=500.0)
    path = maker.make("warm", RunState.COMPLETED, [maker.model(1)], energy=energy.to_record())
    with client.attach(path) as attached:
        assert "Energy: 72 kJ (20 Wh), 10 g CO2 at 500 g/kWh" in written(attached, "text").splitlines()
        assert "10 g CO2 at 500 g/kWh" in written(attached, "html")
        found = json.loads(written(attached, "json"))["energy"]
    maker.close()
    assert (found["joules"], found["grams"], found["gpus"]) == (72_000.0, 10.0, {"GPU-a": 54_000.0})


def test_json_holds_the_epochs_of_every_model(run: client.Run) -> None:
    report = json.loads(written(run, "json"))
    assert report["state"] == "failed"
    assert [[epoch["epoch"] for epoch in model["history"]] for model in report["models"]] == [[1, 2, 3], [1, 2]]


def test_a_pruned_model_and_a_sweep_are_told_in_the_table(tmp_path: Path) -> None:
    maker = RunMaker(tmp_path / "runs", now=100_000.0)
    swept = {"combination": {"learning_rate": 0.1}}
    reason = "pruned at epoch 3: rank 2 of 2"
    ended = maker.model(2, TrainingPhase.CANCELLED, epoch=3, pruned=True, reason=reason, **swept)
    path = maker.make("swept", RunState.COMPLETED, [maker.model(1, **swept), ended])
    with client.attach(path) as attached:
        lines = written(attached, "text").splitlines()
        assert attached.snapshot().overall_percent == 100.0
    maker.close()
    assert any(line.split()[:2] == ["MODEL", "CONFIG"] for line in lines)
    assert any(line.startswith("cognate_planner_2  learning_rate 0.1  cancelled") and reason in line for line in lines)
    assert any(line.split()[:6] == ["1", "0.1", "1/2", "done,", "1", "pruned"] for line in lines)


def test_text_json_status_and_best_name_the_same_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maker = RunMaker(tmp_path / "runs", now=100_000.0)
    # The lowest training loss, the lowest validation loss and the highest accuracy are three different models'.
    figures = [(0.1, 0.4, 0.80), (0.3, 0.2, 0.85), (0.2, 0.3, 0.90)]
    models = [
        maker.model(index, loss=loss, validation_loss=validation, validation_accuracy=accuracy)
        for index, (loss, validation, accuracy) in enumerate(figures, 1)
    ]
    path = maker.make("one", models=[*models, maker.failed(4)])
    maker.close()
    line = "best of the completed models: cognate_planner_3, accuracy 0.9000"
    record = {
        "model": "cognate_planner_3", "index": 3, "metric": "validation_accuracy", "value": 0.9, "goal": "higher",
        "best_is": "largest",
    }  # fmt: skip
    with client.attach(path) as attached:
        assert line in written(attached, "text").splitlines()
        assert json.loads(written(attached, "json"))["best"] == record
        snapshot = attached.snapshot()
    assert main(["status", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == line
    assert "accuracy 0.9000 at best" in out.splitlines()[0]
    assert main(["status", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] == record
    best = best_model(snapshot)
    assert best is not None
    assert best.to_record() == record


def test_csv_has_a_row_an_epoch(run: client.Run) -> None:
    rows = list(csv.DictReader(io.StringIO(written(run, "csv"))))
    assert [(row["model"], row["epoch"]) for row in rows] == [
        *(("cognate_planner_1", str(epoch)) for epoch in (1, 2, 3)),
        *(("cognate_planner_2", str(epoch)) for epoch in (1, 2)),
    ]
    assert rows[0]["loss"] == str(run.history(1)[0].loss)


def test_every_field_of_an_epoch_is_in_csv_and_json(run: client.Run) -> None:
    """But for what stands in another form elsewhere: all epochs of the model, and the time left then."""
    fields = {field.name for field in dataclasses.fields(EpochFinished)}
    assert fields - set(EPOCH_COLUMNS) == {"epochs", "eta_seconds", "metrics"}
    (_, last), *_ = [rows[-2:] for rows in run.histories(run.snapshot().models)]
    row = list(csv.DictReader(io.StringIO(written(run, "csv"))))[2]
    told = json.loads(written(run, "json"))["models"][0]["history"][-1]
    expected = {*old_keys({}), *last.metrics}
    assert list(row) == [*EPOCH_COLUMNS, *(metric.name for metric in BUILT_IN if metric.name in expected)]
    assert told["metrics"] == last.metrics
    for name in row:
        value = getattr(last, name) if name in EPOCH_COLUMNS else last.metrics.get(name)
        assert row[name] == ("" if value is None else str(value)), name
        assert told[name] == value, name


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_is_what_is_written_and_spares_what_is_there(
    run: client.Run, tmp_path: Path, form: ReportFormat
) -> None:
    if form == "png":
        pytest.importorskip("matplotlib", reason="matplotlib is not installed; .ci/run-peers installs it")
    first, second = export_report(run, form, tmp_path), export_report(run, form, tmp_path)
    ending = "txt" if form == "text" else form
    assert (first.name, second.name) == (f"a_run-report.{ending}", f"a_run-report-2.{ending}")
    if form not in ("json", "html"):  # they hold the time of writing
        assert first.read_bytes() == report_bytes(run, form)


def test_a_directory_that_takes_no_file_is_told(run: client.Run, tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match=r"cannot write .*nowhere.*: No such file or directory; use `forge-tui report"):
        export_report(run, "text", tmp_path / "nowhere")


def test_the_histories_of_several_models_are_those_of_each(run: client.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    models = run.snapshot().models
    expected = [run.history(model.index) for model in models]
    assert list(run.histories(models)) == expected
    monkeypatch.setattr("forge_tui.client.run._PAGE", 1)
    assert list(run.histories(models)) == expected
