"""The time a run has left, from measured epochs and the queue over the slots."""

from __future__ import annotations

from collections.abc import ItemsView

import pytest

from forge_tui.analysis.eta import remaining_seconds
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase


def model(index: int, phase: str = "queued", epoch: int = 0, **changes: object) -> ModelState:
    values = {"name": f"m{index}", "index": index, "seed": 0, "epochs": 10, "epoch": epoch, **changes}
    return ModelState(phase=TrainingPhase(phase), **values)  # type: ignore[arg-type]


def test_nothing_left_is_zero_and_nothing_measured_is_unknown() -> None:
    assert remaining_seconds([], 1) == 0.0
    assert remaining_seconds([model(1, "completed", 10), model(2, "failed", 3), model(3, "cancelled")], 2) == 0.0
    assert remaining_seconds([model(1)], 1) is None
    assert remaining_seconds([model(1, "training"), model(2)], 2) is None


def test_models_at_work_take_their_own_estimate() -> None:
    models = [model(1, "training", 5, eta_seconds=7.0), model(2, "training", 5, epoch_seconds=3.0)]
    assert remaining_seconds(models, 2) == 15.0
    assert remaining_seconds(models[:1], 1) == 7.0


def test_queued_models_take_the_mean_epoch_and_go_to_the_first_free_slot() -> None:
    at_work = [
        model(1, "training", 5, epoch_seconds=1.0, eta_seconds=5.0),
        model(2, "training", 2, epoch_seconds=3.0, eta_seconds=24.0),
    ]
    # Mean 2 s: 20 s a queued model. The first starts at 5 and ends at 25, the second starts at 24 and ends at 44.
    assert remaining_seconds([*at_work, model(3)], 2) == 25.0
    assert remaining_seconds([*at_work, model(3), model(4)], 2) == 44.0
    assert remaining_seconds([*at_work, model(3), model(4)], 4) == 24.0


def test_a_model_that_goes_on_from_a_checkpoint_costs_the_rest_only() -> None:
    done = model(1, "completed", 10, epoch_seconds=2.0)
    assert remaining_seconds([done, model(2, "queued", 7)], 1) == 6.0


def test_models_of_the_same_config_tell_most() -> None:
    fast = model(1, "completed", 10, epoch_seconds=1.0, config={"model_size": 1_000})
    slow = model(2, "completed", 10, epoch_seconds=9.0, config={"model_size": 9_000})
    assert remaining_seconds([fast, slow, model(3, config={"model_size": 9_000})], 1) == 90.0
    assert remaining_seconds([fast, slow, model(3)], 1) == 50.0


def test_each_config_is_looked_at_once_however_many_models_wait() -> None:
    class Counted(dict[str, int]):
        looks = 0

        def items(self) -> ItemsView[str, int]:
            Counted.looks += 1
            return super().items()

    measured = [model(n, "completed", 10, epoch_seconds=1.0 + n % 2, config=Counted(size=n % 2)) for n in range(50)]
    waiting = [model(n, config=Counted(size=1)) for n in range(50, 100)]
    assert remaining_seconds([*measured, *waiting], 1) == 50 * 10 * 2.0
    assert Counted.looks == 100


def test_first_epochs_count_only_while_there_is_nothing_better() -> None:
    warming = model(1, "training", 1, epoch_seconds=8.0, eta_seconds=9.0)
    assert remaining_seconds([warming, model(2)], 1) == 89.0
    steady = model(3, "completed", 10, epoch_seconds=1.0)
    assert remaining_seconds([warming, steady, model(2)], 1) == 19.0


def test_with_fewer_slots_than_models_at_work_the_queue_waits_longer() -> None:
    models = [model(n, "training", 5, epoch_seconds=1.0, eta_seconds=float(n)) for n in (1, 2, 3)]
    # Of those at work an epoch takes 0.2, 0.4 and 0.6 s.
    assert remaining_seconds([*models, model(4)], 1) == pytest.approx(7.0)
    assert remaining_seconds(models, 1) == 3.0


def test_there_is_at_least_one_slot() -> None:
    with pytest.raises(ValueError, match="slots must be at least 1, not 0"):
        remaining_seconds([model(1)], 0)


def test_one_slow_epoch_does_not_count_for_all_that_wait() -> None:
    at_work = model(1, "training", 5, epoch_seconds=60.0, eta_seconds=5.0)
    assert remaining_seconds([at_work, model(2)], 1) == 15.0
