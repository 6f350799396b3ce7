"""How much each swept setting explains."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from measured import fields
from scipy.stats import kruskal

from forge_tui.analysis.importance import importances
from forge_tui.protocol.metrics import MetricTable
from forge_tui.protocol.model_state import ModelState

LOSS = MetricTable()["loss"]


def model(index: int, loss: float | None, **combination: Any) -> ModelState:
    values = {"name": f"m{index}", "index": index, "seed": 0, "epochs": 1, "combination": combination, "loss": loss}
    return ModelState(**fields(values))


def swept(loss_of: Any) -> list[ModelState]:
    """Three seeds of each combination of a rate and a size."""
    combinations = itertools.product((0.1, 0.01, 0.001), (8, 16), range(3))
    return [
        model(index, loss_of(rate, size, seed), rate=rate, size=size)
        for index, (rate, size, seed) in enumerate(combinations, 1)
    ]


def test_a_setting_that_decides_explains_all_and_one_that_does_nothing_none() -> None:
    found = importances(swept(lambda rate, size, seed: rate), LOSS)
    assert [(one.key, one.share, one.levels) for one in found] == [("rate", 1.0, 3), ("size", 0.0, 2)]


def test_the_share_is_that_of_kruskal_and_wallis() -> None:
    chosen = random.Random(5)
    models = swept(lambda rate, size, seed: rate + 0.002 * size + chosen.gauss(0, 0.02))
    for one in importances(models, LOSS):
        groups: dict[Any, list[float]] = {}
        for each in models:
            groups.setdefault(each.combination[one.key], []).append(each.metrics["loss"] or 0.0)
        statistic, _ = kruskal(*groups.values())
        expected = (statistic - one.levels + 1) / (len(models) - one.levels)
        assert one.share == pytest.approx(max(0.0, expected))


def test_one_huge_value_does_not_decide() -> None:
    losses = {0.1: 3.0, 0.01: 2.0, 0.001: 1.0}
    usual = importances(swept(lambda rate, size, seed: losses[rate] + 0.1 * seed), LOSS)
    broken = importances(
        swept(lambda rate, size, seed: 1e30 if (rate, seed) == (0.1, 2) else losses[rate] + 0.1 * seed), LOSS
    )
    assert usual == broken


def test_many_numbers_are_binned_and_equal_ones_stay_together() -> None:
    models = [model(index, float(index), rate=1.0 / index, depth=1 + index % 2) for index in range(1, 41)]
    by_key = {one.key: one for one in importances(models, LOSS)}
    assert by_key["rate"].levels == 5
    assert (by_key["rate"].share or 0.0) > 0.9
    assert by_key["depth"].share == 0.0


def test_models_without_a_value_are_left_out_and_too_few_have_no_share() -> None:
    models = [model(1, 1.0, rate=0.1), model(2, 2.0, rate=0.2), model(3, None, rate=0.3), model(4, 3.0, rate=0.2)]
    assert [(one.share, one.levels) for one in importances(models[:3], LOSS)] == [(None, 2)]
    assert importances(models, LOSS)[0].levels == 2
    assert importances([], LOSS) == []
