from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch

from forge_tui.training import random_state
from forge_tui.training.history import EpochRecord, History
from forge_tui.training.state import is_finite


def record(epoch: int, **values: Any) -> EpochRecord:
    metrics = {"loss": 0.5, "validation_accuracy": 0.25, "learning_rate": 1e-3, **values}
    known = {name: value for name, value in metrics.items() if value is not None}
    return EpochRecord(epoch=epoch, step=4 * epoch, metrics=known, seconds=0.1)


def test_history_comes_back_from_its_table_and_goes_on() -> None:
    history = History([record(1), record(2, loss=None), record(3)])
    table = history.to_tensor()
    history.append(record(4))  # the table is a copy: it stays as it was
    assert history.names == ["loss", "validation_accuracy", "learning_rate"]
    assert table.tolist()[0] == [1.0, 4.0, 0.1, 0.5, 0.25, 1e-3]
    found = History.from_tensor(table, history.names)
    assert list(found) == list(history[:3])
    found.append(record(4))
    assert list(found) == list(history)
    assert torch.equal(found.to_tensor().nan_to_num(-1.0), history.to_tensor().nan_to_num(-1.0))
    history.append(record(5, own=7.0))
    assert history.to_tensor()[:, 6].nan_to_num(-1.0).tolist() == [-1.0, -1.0, -1.0, -1.0, 7.0]
    assert list(History.from_tensor(history.to_tensor(), history.names)) == list(history)
    assert History().to_tensor().shape == (0, 3)


def test_a_metric_that_is_not_defined_is_another_thing_than_one_that_is_missing() -> None:
    undefined = EpochRecord(epoch=2, step=8, metrics={"loss": 0.5, "validation_auc": None}, seconds=0.1)
    history = History([record(1), undefined])
    assert list(History.from_tensor(history.to_tensor(), history.names)) == [record(1), undefined]


def test_the_last_epoch_of_a_history_can_be_replaced() -> None:
    history = History([record(1), record(2)])
    history.replace_last(record(2, loss=0.25, own=3.0))
    assert list(history) == [record(1), record(2, loss=0.25, own=3.0)]
    assert list(History.from_tensor(history.to_tensor(), history.names)) == list(history)
    history.replace_last(record(2))
    assert history.to_tensor().shape == (2, 3 + 4)
    assert list(History.from_tensor(history.to_tensor(), history.names)) == list(history)


@pytest.mark.parametrize("columns", [8, 9])
def test_the_history_of_an_earlier_version_is_read(columns: int) -> None:
    """It had a column for each metric; the last one, of custom metrics, came later."""
    row = [3.0, 12.0, 0.5, 0.4, 0.25, math.nan, 1e-3, 0.1, 2.0][:columns]
    (found,) = History.from_tensor(torch.tensor([row], dtype=torch.float64), None)
    metrics = {"loss": 0.5, "validation_loss": 0.4, "validation_accuracy": 0.25, "learning_rate": 1e-3}
    own = {} if columns == 8 else {"validation_metric": 2.0}
    assert found == EpochRecord(epoch=3, step=12, metrics={**metrics, **own}, seconds=0.1)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_found(kind: torch.dtype, odd: float) -> None:
    for place in (0, 4_999, 9_999):
        tensor = torch.linspace(-1, 1, 10_000).to(kind)
        assert is_finite(tensor.reshape(100, 100).t())
        tensor[place] = odd
        assert not is_finite(tensor.reshape(100, 100).t())


def test_what_has_no_such_numbers_is_finite() -> None:
    assert is_finite(torch.zeros(0))
    assert is_finite(torch.tensor([True, False]))
    assert is_finite(torch.arange(3))


def test_random_state_is_taken_whole() -> None:
    device = torch.device("cpu")
    random_state.seed_everything(5)
    np.random.standard_normal()  # leaves a second number waiting
    taken = random_state.capture(device)
    assert {name: tensor.dtype for name, tensor in taken.items()} == {
        "torch": torch.uint8, "python": torch.int64, "python_gauss": torch.float64, "numpy": torch.int64,
        "numpy_gauss": torch.float64,
    }  # fmt: skip

    def draw() -> list[float]:
        return [random.random(), float(np.random.standard_normal()), torch.rand(()).item(), float(np.random.rand())]

    expected = draw()
    random_state.restore(taken, device)
    assert draw() == expected
