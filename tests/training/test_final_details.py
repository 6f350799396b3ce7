"""Confusion matrix and worst rows of finished models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from made_jobs import JobMaker
from torch import nn

from forge_tui.protocol.model_details import MOST_CLASSES, MOST_PAIRS, MOST_ROWS, Mistake, ModelDetails
from forge_tui.training.data.task import Task
from forge_tui.training.export import load_model
from forge_tui.training.final_details import Part, details_of
from forge_tui.training.models.network import Network


def _details(outputs: torch.Tensor, targets: torch.Tensor, task: Task = Task.CLASSIFICATION, **more: Any) -> Any:
    part = Part(inputs=outputs, targets=targets, raw=more.get("raw", targets), rows=more.get("rows"))
    return details_of(Network(nn.Identity(), None), task, part, more.get("classes"))


def test_the_matrix_counts_true_classes_by_predicted_ones() -> None:
    outputs = torch.eye(3)[[0, 0, 1, 2, 1, 1]] * 9
    confusion, worst = _details(outputs, torch.tensor([0, 0, 0, 2, 1, 2]), classes=("a", "b", "c"),
                                rows=torch.arange(10, 16))  # fmt: skip
    assert confusion.classes == ("a", "b", "c")
    assert confusion.matrix == ((2, 1, 0), (0, 1, 0), (0, 1, 1))
    assert [(one.row, one.true, one.predicted) for one in worst[:2]] == [(12, "a", "b"), (15, "c", "b")]
    assert worst[0].loss == pytest.approx(float(nn.functional.cross_entropy(outputs[2], torch.tensor(0))))


def test_of_many_classes_the_most_confused_pairs_are_kept() -> None:
    size = MOST_CLASSES + 40
    targets = torch.cat((torch.arange(size), torch.tensor([4] * 5)))
    found = (targets + 1) % size
    confusion, worst = _details(torch.eye(size)[found], targets)
    assert confusion.matrix == ()
    assert confusion.mistakes[0] == Mistake(true=4, predicted=5, count=6)
    assert len(confusion.mistakes) == MOST_PAIRS
    assert len(worst) == MOST_ROWS


def test_rows_of_a_regression_are_in_the_units_of_the_data() -> None:
    network = Network(nn.Identity(), None)
    network.target_mean, network.target_scale = torch.tensor([100.0]), torch.tensor([10.0])
    scaled, out = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.5], [-2.0], [2.0]])
    part = Part(inputs=out, targets=scaled, raw=scaled * 10 + 100, rows=torch.tensor([7, 8, 9]))
    confusion, worst = details_of(network, Task.REGRESSION, part, None)
    assert confusion is None
    assert [(one.row, one.true, one.predicted, one.loss) for one in worst] == [
        (8, 110.0, 80.0, 9.0), (7, 100.0, 105.0, 0.25), (9, 120.0, 120.0, 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize("outputs", [torch.zeros(4, 2), torch.zeros(4, 3, 2), torch.zeros(4)])
def test_outputs_of_another_shape_have_none(outputs: torch.Tensor) -> None:
    assert _details(outputs, torch.tensor([0, 1, 2, 0])) == (None, ())


def test_losses_that_are_no_numbers_come_first() -> None:
    _, worst = _details(torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]), torch.tensor([0, 0]), rows=torch.tensor([1, 2]))
    assert [one.row for one in worst] == [2, 1]
    assert json.dumps(ModelDetails(worst=worst).to_record(), allow_nan=False)


def test_rows_are_those_of_the_file_where_rows_without_a_target_are_left_out(
    make_job: JobMaker, train: Any, tmp_path: Path
) -> None:
    lines = [f"{n % 7},{n},{'' if n % 4 == 0 else ('cat', 'dog')[n % 2]}" for n in range(80)]
    (tmp_path / "rows.csv").write_text("x,number,target\n" + "\n".join(lines) + "\n")
    train(make_job(training={"dataset": "rows.csv", "epochs": 1}, data={"validation_fraction": 0.3}))
    stem = tmp_path / "run" / "cognate_planner_1"
    details = ModelDetails.from_record(json.loads(stem.with_suffix(".json").read_text())["details"])
    assert details.confusion is not None
    assert sum(map(sum, details.confusion.matrix)) == 18
    model = load_model(stem)
    for one in details.worst:
        assert one.row is not None
        x, number, target = lines[one.row - 1].split(",")
        assert one.true == target
        logits = model(torch.tensor([[float(x), float(number)]]))
        wanted = torch.tensor([("cat", "dog").index(target)])
        assert one.loss == pytest.approx(float(nn.functional.cross_entropy(logits, wanted)), rel=1e-4)
