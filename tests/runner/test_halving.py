"""Successive halving: the verdicts against a plain reference, and what is remembered."""

from __future__ import annotations

import math
import random

import pytest

from forge_tui.protocol.job import rung_passed
from forge_tui.runner.halving import Halving, Reached, rungs_of
from forge_tui.settings.schema import from_plain


@pytest.mark.parametrize(
    ("factor", "first", "epochs", "expected"),
    [
        (3, 1, 81, (1, 3, 9, 27)),
        (2, 5, 41, (5, 10, 20, 40)),
        (2, 5, 40, (5, 10, 20)),
        (4, 10, 10, ()),
        (None, 1, 100, ()),
    ],
)
def test_rungs_are_powers_of_the_factor_before_the_last_epoch(
    factor: int | None, first: int, epochs: int, expected: tuple[int, ...]
) -> None:
    run = {"halving_first": first, **({} if factor is None else {"halving": factor})}
    assert rungs_of(from_plain({"training": {"epochs": epochs}, "run": run})) == expected


def reference(factor: int, before: list[float], loss: float) -> bool:
    """Whether fewer than 1/factor of all that have come are better or as good and earlier; the first one always is."""
    better = sum(1 for other in before if other <= loss)
    return better < max(1, (len(before) + 1) // factor)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_the_verdicts_are_those_of_a_plain_count(factor: int, seed: int) -> None:
    print(f"seed {seed}")
    draw = random.Random(seed)
    halving, rungs = Halving(factor), (1, factor, factor**2)
    came: dict[int, list[float]] = {epoch: [] for epoch in rungs}
    for index in range(1, 200):
        for epoch in rungs:
            loss = draw.choice([draw.random(), 0.5, 0.25])  # ties too
            verdict = halving.reached(index, epoch, loss)
            assert verdict.continues == reference(factor, came[epoch], loss)
            came[epoch].append(loss)
            assert (verdict.rank, verdict.of) == (
                1 + sum(1 for other in came[epoch][:-1] if other <= loss),
                len(came[epoch]),
            )
            if not verdict.continues:
                break


def test_asked_again_the_verdict_stays_whoever_came_meanwhile() -> None:
    halving = Halving(2)
    first = halving.reached(1, 4, 0.9)
    assert first.continues
    assert halving.reached(2, 4, 0.1).continues
    assert halving.reached(1, 4, 0.9) == first
    assert halving.reached(3, 4, 0.5).reason == "pruned at epoch 4: rank 2 of 3"


def test_a_model_past_a_rung_counts_though_its_verdict_was_lost() -> None:
    """After a power loss a finished model's epochs are reported from its file, and it asks about no rung."""
    halving = Halving(2, rungs=(2, 4))
    for epoch, loss in ((1, 0.9), (2, 0.1), (3, 0.7), (4, 0.6)):
        halving.reported(1, epoch, loss)
    assert halving.reached(2, 2, 0.2).reason == "pruned at epoch 2: rank 2 of 2"
    assert halving.reached(3, 4, 0.7).of == 1, "model 1 is not past the rung at 4 yet"
    assert halving.reached(1, 4, 0.6).continues


def test_epochs_that_are_reported_in_training_change_no_verdict() -> None:
    """Those of a group come together, before the first of it asks."""
    halving, plain = Halving(2, rungs=(2, 4)), Halving(2)
    for epoch in (1, 2):
        for index, loss in ((1, 0.5), (2, 0.3), (3, 0.4)):
            halving.reported(index, epoch, loss)
    for index, loss in ((1, 0.5), (2, 0.3), (3, 0.4)):
        assert halving.reached(index, 2, loss) == plain.reached(index, 2, loss)
    halving.reported(2, 3, 0.1)
    assert halving.reached(4, 2, 0.35) == plain.reached(4, 2, 0.35)


def test_a_rung_whose_epoch_is_left_out_is_passed_by_the_next_report() -> None:
    """A training function reports the epochs that it likes; the rungs are 2, 4 and 8."""
    assert [rung_passed((2, 4, 8), judged, epoch) for judged, epoch in ((0, 1), (0, 3), (3, 3), (3, 9), (9, 20))] == [
        None, 2, None, 8, None,
    ]  # fmt: skip
    halving = Halving(2, rungs=(2, 4, 8))
    for epoch, loss in ((3, 0.5), (3, 0.1), (5, 0.6), (6, 0.7)):
        halving.reported(1, epoch, loss)
    assert halving.reached(2, 2, 0.2).reason == "pruned at epoch 2: rank 2 of 2"
    assert halving.reached(3, 4, 0.65).reason == "pruned at epoch 4: rank 2 of 2"
    assert halving.reached(4, 8, 0.65).of == 1


def test_no_number_is_worse_than_any() -> None:
    halving = Halving(2)
    assert halving.reached(1, 1, math.nan).continues  # the first one has nobody to be compared with
    assert halving.reached(2, 1, 1e9).continues
    assert not halving.reached(3, 1, None).continues


def test_one_that_somebody_wants_is_spared() -> None:
    halving = Halving(2)
    for index, loss in ((1, 0.1), (2, 0.2)):
        halving.reached(index, 1, loss)
    assert not halving.reached(2, 1, 0.2).continues
    halving.spare(2)
    assert halving.reached(2, 1, 0.2).continues
    assert halving.reached(2, 2, math.inf).continues


def test_after_a_resume_the_verdicts_are_those_of_an_undisturbed_run() -> None:
    losses = [0.5, 0.4, 0.6, 0.3, 0.35, 0.2]
    whole = Halving(2)
    verdicts = [whole.reached(index, 2, loss) for index, loss in enumerate(losses, 1)]
    earlier = [Reached(index, 2, losses[index - 1], verdicts[index - 1].continues) for index in (1, 2, 3)]
    # The fourth had come, and was not judged.
    resumed = Halving(2, [*earlier, Reached(4, 2, losses[3], None)])
    assert [resumed.reached(index, 2, loss).continues for index, loss in enumerate(losses, 1)] == [
        verdict.continues for verdict in verdicts
    ]
    assert resumed.reached(6, 2, 0.2).of == 6
