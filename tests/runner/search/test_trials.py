"""What a sampler gets of a trial: value, state and epoch, from the states of its models."""

from __future__ import annotations

from typing import Any

import pytest

from forge_tui.protocol.model_state import Failure, ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.runner.search.trials import BestEpochs, Trial, TrialState, trial_of

VALUES = {"training.learning_rate": 0.1}
DONE, QUEUED, FAILED, CANCELLED = (
    TrainingPhase.COMPLETED, TrainingPhase.QUEUED, TrainingPhase.FAILED, TrainingPhase.CANCELLED,
)  # fmt: skip


def model(index: int, phase: TrainingPhase = DONE, **more: Any) -> ModelState:
    kind = more.pop("kind", None)
    failures = () if kind is None else (Failure(model="m", index=index, attempt=1, kind=kind, message="no"),)
    return ModelState(name=f"m_{index}", index=index, seed=0, epochs=9, phase=phase, failures=failures, **more)


@pytest.mark.parametrize(
    ("models", "measures", "expected"),
    [
        ([model(1), model(2)], {1: 0.2, 2: 0.6}, ("complete", 0.4, 0)),
        ([model(1), model(2, TrainingPhase.TRAINING)], {1: 0.2, 2: 0.1}, ("running", None, 0)),
        ([model(1), model(2, QUEUED)], {1: 0.2}, ("running", None, 0)),
        ([model(1)], {1: None}, ("bad", None, 0)),
        ([model(1), model(2)], {1: 0.2}, ("bad", None, 0)),
        ([model(1, CANCELLED, pruned=True, epoch=3)], {1: 0.7}, ("pruned", 0.7, 3)),
        (
            [model(1, epoch=9), model(2, CANCELLED, pruned=True, epoch=3), model(3, CANCELLED, pruned=True, epoch=1)],
            {1: 0.1, 2: 0.3, 3: 0.5}, ("pruned", pytest.approx(0.3), 1),
        ),
        ([model(1, CANCELLED, pruned=True, epoch=3)], {}, ("pruned", None, 3)),
        ([model(1, CANCELLED)], {1: 0.2}, ("failed", None, 0)),
        ([model(1, FAILED, kind="diverged"), model(2)], {2: 0.1}, ("bad", None, 0)),
        ([model(1, FAILED, kind="exception")], {}, ("bad", None, 0)),
        ([model(1, FAILED, kind="out_of_memory")], {}, ("bad", None, 0)),
        ([model(1, FAILED, kind="exit")], {}, ("bad", None, 0)),
        ([model(1, FAILED, kind="signal")], {1: 0.1}, ("failed", None, 0)),
        ([model(1, FAILED, kind="node_lost"), model(2, TrainingPhase.TRAINING)], {}, ("failed", None, 0)),
        ([model(1, FAILED, kind="hang"), model(2, FAILED, kind="diverged")], {}, ("bad", None, 0)),
    ],
)  # fmt: skip
def test_a_trial_is_what_became_of_its_models(
    models: list[ModelState], measures: dict[int, float | None], expected: tuple[str, float | None, int]
) -> None:
    trial = trial_of(4, VALUES, models, measures)
    assert (trial.state.value, trial.value, trial.epoch) == expected
    assert (trial.number, trial.values) == (4, VALUES)
    assert Trial.from_record(trial.to_record()) == trial


def test_a_failure_that_was_tried_again_with_success_is_none() -> None:
    again = model(1, kind="diverged", epoch=9)
    assert trial_of(1, VALUES, [again], {1: 0.5}).state is TrialState.COMPLETE


def test_the_best_epoch_is_the_first_of_the_least() -> None:
    assert BestEpochs([(1, 0.5), (2, 0.3), (3, 0.3), (4, 0.9)]).best == (2, 0.3)
    assert BestEpochs([(1, None), (2, float("nan"))]).best is None
    assert BestEpochs().best is None


def test_what_is_trained_again_replaces_what_was_trained_before() -> None:
    """A model that goes back to a checkpoint has no results of the epochs after it."""
    epochs = BestEpochs([(1, 0.9), (2, 0.8), (3, 0.1), (4, 0.2)])
    epochs.take(3, 0.7)
    assert epochs.best == (3, 0.7)
    epochs.take(4, 0.75)
    assert epochs.best == (3, 0.7)
    alone = BestEpochs([(1, 0.9), (2, 0.1), (3, 0.4)], replaces_alone=True)
    alone.take(2, 0.5)
    assert alone.best == (3, 0.4)
