"""A run as polars frames, and as it shows itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars
import pytest
from growing_runs import GrowingRun
from run_directories import MESSAGE, RunMaker

from forge_tui import client
from forge_tui.client import notebook
from forge_tui.client.frames import EPOCH_COLUMNS, epochs_frame
from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.reports.run_report import report_bytes

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def run(maker: RunMaker) -> Iterator[client.Run]:
    swept: list[dict[str, Any]] = [
        {"learning_rate": 0.1, "batch_size": 16, "nesterov": True, "betas": [0.9, 0.99], "note": HOSTILE},
        {"learning_rate": 1, "batch_size": 32, "nesterov": False, "betas": [0.8, 0.9], "note": 3},
    ]
    models = [
        maker.model(1, epoch=3, combination=swept[0], path="/runs/one/cognate_planner_1", best_epoch=2),
        maker.failed(2, epoch=2, combination=swept[1]),
    ]
    with client.attach(maker.make("one", RunState.FAILED, models)) as attached:
        yield attached


def test_a_row_per_model_with_settings_metrics_and_what_went_wrong(run: client.Run) -> None:
    frame = run.frame()
    assert frame.select("model", "index", "phase", "epoch", "epochs", "best_epoch", "error", "path").rows() == [
        ("cognate_planner_1", 1, "completed", 3, 100, 2, None, "/runs/one/cognate_planner_1"),
        ("cognate_planner_2", 2, "failed", 2, 100, None, MESSAGE, None),
    ]
    assert frame["validation_accuracy"].to_list() == [0.972, 0.972]
    assert frame["learning_rate"].to_list() == [0.001, 0.001]  # the metric
    assert frame["seconds"].to_list() == [600.0, 502.0]


def test_swept_settings_have_columns_of_their_own_types(run: client.Run) -> None:
    frame = run.frame()
    found = {name: (frame[name].dtype, frame[name].to_list()) for name in frame.columns if name.startswith("config.")}
    assert found == {
        "config.learning_rate": (polars.Float64, [0.1, 1.0]),
        "config.batch_size": (polars.Int64, [16, 32]),
        "config.nesterov": (polars.Boolean, [True, False]),
        "config.betas": (polars.String, ["0.9, 0.99", "0.8, 0.9"]),
        "config.note": (polars.String, [HOSTILE, "3"]),
    }


def test_a_row_per_epoch_as_in_the_csv_report(run: client.Run) -> None:
    frame = run.metrics_frame()
    rows = list(csv.DictReader(io.StringIO(report_bytes(run, "csv").decode())))
    assert tuple(frame.columns[: len(EPOCH_COLUMNS)]) == EPOCH_COLUMNS
    assert len(frame) == len(rows) == 5
    for made, row in zip(frame.rows(named=True), rows, strict=True):
        assert {name: "" if value is None else str(value) for name, value in made.items()} == {
            name: row[name] for name in made
        }
    assert frame.schema["index"] == polars.Int64
    assert frame.schema["loss"] == polars.Float64


def test_what_is_no_number_is_null(run: client.Run) -> None:
    epoch = EpochFinished(
        time=1.0, model="m", index=1, attempt=1, epoch=1, epochs=1, step=1, best_loss=None,
        metrics={"loss": float("nan"), "validation_loss": float("inf")},
    )  # fmt: skip
    frame = epochs_frame(run.snapshot(), [[epoch]])
    assert frame.select("loss", "validation_loss", "validation_accuracy", "best_loss").row(0) == (None,) * 4


def test_a_run_without_epochs_has_frames_with_columns(maker: RunMaker) -> None:
    path = maker.make("one", RunState.QUEUED, [maker.model(1, TrainingPhase.QUEUED)])
    with client.attach(path) as run:
        assert run.frame().height == 1
        assert run.metrics_frame().columns == list(EPOCH_COLUMNS)


# --- as it shows itself


class Text(HTMLParser):
    """The text of each element's first piece, by element."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_notebook_shows_state_and_models_as_text(run: client.Run) -> None:
    shown = Text(run._repr_html_())
    assert shown.texts[:2] == [
        "Run one",
        ": failed, 1 of 2 models completed, 1 failed, accuracy 0.9720 at best, took 10:00",
    ]
    assert f"learning_rate 0.1, batch_size 16, nesterov true, betas 0.9, 0.99, note {HOSTILE}" in shown.texts
    assert "script" not in shown.tags
    assert "progress" not in shown.tags
    assert shown.tags.count("tr") == 3


def test_a_live_run_has_a_bar(maker: RunMaker) -> None:
    path = maker.make("live", RunState.RUNNING, [maker.model(1, TrainingPhase.TRAINING, epoch=50)])
    with client.attach(path) as run:
        shown = Text(run._repr_html_())
    assert shown.texts[1] == ": running, 0 of 1 models completed, 1 training, accuracy 0.9720 at best, ETA 0:41"
    assert "progress" in shown.tags
    assert " 50%" in shown.texts


def test_many_models_are_cut_and_counted(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MOST_MODELS", 2)
    with client.attach(maker.make(count=5)) as run:
        shown = Text(run._repr_html_())
    assert shown.tags.count("tr") == 3
    assert shown.texts[-1] == "and 3 more models"


def test_a_run_that_is_gone_says_so(maker: RunMaker) -> None:
    path = maker.make("gone")
    with client.attach(path) as run:
        path.rename(path.with_name("elsewhere"))
        assert "was moved or deleted" in run._repr_html_()
        assert repr(run) == f"<Run 'gone' at {str(path)!r}>"


def test_metrics_that_are_called_as_columns_get_a_prefix(maker: RunMaker) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1], {"epoch": 7.0, "seconds": 0.5, "path": 3.0})
    with client.attach(run.path) as attached:
        epochs, models = attached.metrics_frame(), attached.frame()
    assert epochs.select("epoch", "metric.epoch", "metric.seconds", "path").rows() == [(1, 7.0, 0.5, 3.0)]
    assert models.select("epoch", "metric.epoch", "metric.seconds", "metric.path").rows() == [(1, 7.0, 0.5, 3.0)]


def test_snapshots_and_models_are_short(run: client.Run) -> None:
    snapshot = run.snapshot()
    assert repr(snapshot) == "<Snapshot of run 'one': failed, 1 of 2 models completed, 51 %>"
    assert repr(snapshot.models[1]).startswith("<ModelState 'cognate_planner_2' 2: failed, epoch 2/100, loss=")


def test_a_run_directory_of_many_models_is_read_once_for_its_frame(maker: RunMaker, tmp_path: Path) -> None:
    with client.attach(maker.make(count=250)) as run:
        frame = run.metrics_frame()
    assert frame.height == 250 * 100
    assert frame.group_by("index").len()["len"].unique().to_list() == [100]
