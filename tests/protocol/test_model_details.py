"""The details of a model as NAME.json has them, also from a hostile file."""

from __future__ import annotations

import json

import pytest

from forge_tui.protocol.model_details import MOST_ROWS, Confusion, Mistake, ModelDetails, WorstRow

WORST = (WorstRow(row=3, loss=1.5, true="a", predicted="b"), WorstRow(row=None, loss=None, true=2.5, predicted=1.0))


@pytest.mark.parametrize(
    "confusion",
    [
        None,
        Confusion(classes=("a", 2, True), matrix=((1, 0, 0), (0, 2, 0), (0, 3, 0))),
        Confusion(mistakes=(Mistake(true="a", predicted="b", count=7),)),
    ],
)
def test_what_is_written_is_read(confusion: Confusion | None) -> None:
    details = ModelDetails(split="test", confusion=confusion, worst=WORST)
    assert ModelDetails.from_record(json.loads(json.dumps(details.to_record()))) == details


def test_it_is_bounded() -> None:
    long = ModelDetails(worst=(WorstRow(row=1, loss=float("nan"), true="x" * 10_000, predicted="y"),))
    assert len(json.dumps(long.to_record())) < 500
    many = {"worst": [{"row": 1, "loss": 1.0, "true": 1, "predicted": 2}] * 1000}
    assert len(ModelDetails.from_record(many).worst) == MOST_ROWS


@pytest.mark.parametrize(
    "record",
    [
        None,
        7,
        {"split": [], "confusion": 3, "worst": "x"},
        {"confusion": {"classes": ["a"], "matrix": [[1, 2]]}},
        {"confusion": {"classes": ["a"], "matrix": [[-1]]}},
        {"confusion": {"classes": [["a"]], "matrix": [[1]]}},
        {"confusion": {"classes": ["a"] * 31, "matrix": [[0] * 31] * 31}},
        {"worst": [None, {"row": "x"}, {"row": 1, "loss": "x"}, {"row": 1, "true": {}}, {"row": -1}]},
    ],
)
def test_what_is_never_written_is_left_out(record: object) -> None:
    assert ModelDetails.from_record(record) == ModelDetails()


def test_mistakes_that_are_never_written_are_left_out() -> None:
    record = {"confusion": {"mistakes": [7, {"true": "a", "predicted": "b", "count": -1}]}}
    assert ModelDetails.from_record(record).confusion == Confusion()
