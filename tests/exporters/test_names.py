"""Names and settings as trackers take them."""

from __future__ import annotations

import math

import pytest
from measured import snapshot_of

from forge_tui.exporters.names import flat_settings, name_for_mlflow, name_for_wandb, run_key


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("validation_loss", "validation_loss"), ("val/loss", "val/loss"), ("précision", "précision"),
        ("a b.c-d:e", "a b.c-d:e"), ("F1@5", "F1_x40_5"), ("top-1 %", "top-1 _x25_"), ("a//b", "a_x2f__x2f_b"),
        ("/a", "_x2f_a"), ("a/", "a_x2f_"), ("a/../b", "a_x2f_.._x2f_b"), ("../a", "_x2e__x2e__x2f_a"),
        (".", "_x2e_"), ("./a", "_x2e__x2f_a"),
    ],
)  # fmt: skip
def test_a_name_that_mlflow_refuses_is_written_with_codes(name: str, taken: str) -> None:
    assert name_for_mlflow(name) == taken


def test_mlflow_takes_them() -> None:
    validation = pytest.importorskip("mlflow.utils.validation", reason="MLflow is not installed")
    for code in range(32, 0x250):
        for name in (chr(code), f"a{chr(code)}b", f"{chr(code)}/a", f"a/{chr(code)}"):
            if name.isprintable():
                validation._validate_metric_name(name_for_mlflow(name))


def test_wandbs_own_columns_stay_its_own() -> None:
    names = ["_step", "__step", "___step", "_timestamp", "loss", "_loss", "step"]
    assert [name_for_wandb(name) for name in names] == [
        "__step", "___step", "____step", "__timestamp", "loss", "_loss", "step",
    ]  # fmt: skip


def test_settings_become_plain_values() -> None:
    config = {
        "rate": 0.5, "flag": True, "count": 3, "word": "x", "unset": None, "layers": [64, 32],
        "model": {"width": 8, "deep": {"er": None, "est": [1]}}, "odd": math.inf,
    }  # fmt: skip
    assert flat_settings(config) == {
        "rate": 0.5, "flag": True, "count": 3, "word": "x", "layers": "[64, 32]", "model.width": 8,
        "model.deep.est": "[1]", "odd": "Infinity",
    }  # fmt: skip


def test_a_key_belongs_to_one_run_and_one_model() -> None:
    one, same, other = (snapshot_of([], run="r", created=created).run for created in (1.0, 1.0, 2.0))
    assert run_key(one) == run_key(same) != run_key(other)
    assert len({run_key(one, index) for index in range(5)}) == 5
    assert len(run_key(one)) == 32
