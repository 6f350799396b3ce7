"""Where a model goes back to after a divergence: further each time, to the start in the end, and never without end."""

from __future__ import annotations

import math
from random import Random

import pytest

from forge_tui.protocol.events import EpochFinished, ModelFailed, ModelRetried, from_record, to_record
from forge_tui.protocol.model_state import ModelState, apply
from forge_tui.protocol.rollback import Rollback, Saved, roll_back
from forge_tui.runner.consequences import consequence

SAVED = [Saved(50, 5), Saved(40, 4), Saved(20, 2)]


def test_the_first_time_it_goes_back_to_the_newest_checkpoint() -> None:
    rollback, place = roll_back(None, SAVED, epoch=6, lowest_loss=0.5)
    assert (rollback, place) == (Rollback(step=50, diverged_epoch=6, loss=0.5), Saved(50, 5))


def test_each_further_time_it_goes_back_further_and_in_the_end_to_the_start() -> None:
    rollback: Rollback | None = None
    places = []
    for epoch in (6, 7, 6, 5, 1):
        # Later checkpoints are saved meanwhile, of weights that grew too far.
        rollback, place = roll_back(rollback, [Saved(60, 6), *SAVED], epoch=epoch, lowest_loss=0.5)
        places.append(place)
    assert places == [Saved(60, 6), Saved(50, 5), Saved(40, 4), Saved(20, 2), Saved(0, 0)]
    assert rollback == Rollback(step=0, diverged_epoch=7, loss=0.5)
    assert roll_back(rollback, SAVED, epoch=1, lowest_loss=None)[1] == Saved(0, 0)


def test_without_a_checkpoint_it_is_the_start() -> None:
    assert roll_back(None, [], epoch=1, lowest_loss=None) == (
        Rollback(step=0, diverged_epoch=1, loss=None),
        Saved(0, 0),
    )


def test_the_lowest_loss_of_all_times_is_kept() -> None:
    rollback, _ = roll_back(Rollback(step=40, diverged_epoch=5, loss=0.3), SAVED, epoch=6, lowest_loss=0.5)
    assert rollback.loss == 0.3
    rollback, _ = roll_back(Rollback(step=40, diverged_epoch=5, loss=0.3), SAVED, epoch=6, lowest_loss=0.2)
    assert rollback.loss == 0.2


@pytest.mark.parametrize(
    ("epoch", "loss", "over"),
    [
        (7, 0.29, True),
        (7, 0.3, False),
        (6, 0.1, True),
        (5, 0.1, False),  # no further than it came before
        (9, 1e9, False),  # finite, and exploded
        (9, math.nan, False),
        (9, -math.inf, False),
        (9, None, False),
    ],
)
def test_it_is_over_further_on_with_a_lower_loss(epoch: int, loss: float | None, over: bool) -> None:
    assert Rollback(step=10, diverged_epoch=6, loss=0.3).is_over(epoch, loss) is over


def test_a_model_that_never_had_a_loss_is_beyond_it_with_any() -> None:
    assert Rollback(step=0, diverged_epoch=2, loss=None).is_over(2, 1e9)
    assert not Rollback(step=0, diverged_epoch=2, loss=None).is_over(1, 1.0)


def test_a_model_cannot_go_back_for_ever() -> None:
    """Whatever its losses are and wherever it diverges; a checkpoint an epoch, as the scheduler decides."""
    epochs, keep, allowed = 12, 2, 2
    longest = 0
    for seed in range(300):
        random = Random(seed)
        rollback, place, lowest, divergences, retries = None, Saved(0, 0), None, 0, 0
        saved: list[Saved] = []
        while True:
            epoch = place.epoch
            while (epoch := epoch + 1) <= epochs and random.random() < 0.7:
                loss = (lowest or 1.0) * random.choice([0.9, 0.9, 2.0])
                lowest = loss if lowest is None else min(lowest, loss)
                if rollback is not None and rollback.is_over(epoch, loss):
                    rollback, divergences = None, 0
                saved.append(Saved(10 * epoch, epoch))
                saved = [one for one in saved[:-keep] if rollback and one.step < rollback.step] + saved[-keep:]
            if epoch > epochs:
                break
            before = rollback
            following, place = roll_back(rollback, saved, epoch=epoch, lowest_loss=lowest)
            further = before is not None and following.step < before.step
            follows = consequence(
                ModelFailed(time=1.0, model="m", index=1, attempt=1, kind="diverged", message=""),
                earlier=divergences, allowed=allowed, beside=0, ending=False, lowers_rate=True, goes_further=further,
            )  # fmt: skip
            if not follows.retry:
                break
            divergences, retries, rollback = divergences + follows.counts, retries + 1, following
            assert before is None or following.step < before.step or before.step == 0
            saved = [one for one in saved if one.step <= place.step]
            assert len(saved) <= 2 * keep
        longest = max(longest, retries)
    assert 8 < longest <= epochs * (allowed + keep + 1), "the bound, and the test comes near to what it bounds"


def test_a_model_state_keeps_it_through_json_and_events() -> None:
    model = ModelState(name="m", index=1, seed=0, epochs=9, epoch=6, checkpoint_step=50, checkpoint_epoch=5)
    about = {"time": 1.0, "model": "m", "index": 1, "attempt": 2}
    event = ModelRetried(
        from_epoch=2, reason="diverged", learning_rate_factor=0.5, rollbacks=1, to_step=20, diverged_epoch=6,
        loss_to_beat=0.3, **about,
    )  # fmt: skip
    assert from_record(to_record(event, "run")) == event
    model = apply(model, event)
    assert model.rollback == Rollback(step=20, diverged_epoch=6, loss=0.3)
    assert (model.rollbacks, model.epoch, model.checkpoint_step, model.checkpoint_epoch) == (1, 2, 20, 2)
    assert ModelState.from_record(model.to_record()) == model

    def finished(epoch: int, loss: float) -> EpochFinished:
        return EpochFinished(epoch=epoch, epochs=9, step=10 * epoch, metrics={"loss": loss}, best_loss=loss, **about)

    assert apply(model, finished(5, 0.1)).rollback == model.rollback
    assert apply(model, finished(7, 0.4)).rollback == model.rollback
    over = apply(model, finished(6, 0.2))
    assert (over.rollback, over.rollbacks) == (None, 1)
    plain = ModelRetried(from_epoch=5, reason="died", learning_rate_factor=0.5, **about)
    assert apply(model, plain).rollback == model.rollback
    assert ModelState.from_record({"name": "m", "index": 1, "seed": 0, "epochs": 9, "phase": "queued"}).rollback is None
