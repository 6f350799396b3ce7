"""Learning-rate factors against torch's schedulers, and by hand where a warm-up comes first."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from forge_tui.training.schedules import factor_at

TOTAL = 40
Scheduler = Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]
THEIRS: dict[str, Scheduler] = {
    "constant": lambda optimizer: lr_scheduler.ConstantLR(optimizer, factor=1.0),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL),
    "linear": lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=TOTAL),
    "one_cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=TOTAL, cycle_momentum=False),
}


def factors(schedule: str, total: int, warmup: int = 0) -> list[float]:
    return [factor_at(schedule, step, total, warmup) for step in range(1, total + 1)]


@pytest.mark.parametrize(("schedule", "theirs"), THEIRS.items(), ids=THEIRS.keys())
def test_the_factors_are_those_of_torchs_schedulers(schedule: str, theirs: Scheduler) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, expected = theirs(optimizer), []
    for _ in range(TOTAL):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert factors(schedule, TOTAL) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_a_warm_up_rises_in_equal_parts_and_the_schedule_covers_the_rest(schedule: str) -> None:
    found = factors(schedule, 12, warmup=4)
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[4:] == factors(schedule, 8)


def test_a_warm_up_replaces_the_rise_of_one_cycle() -> None:
    found = factors("one_cycle", 12, warmup=4)
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    low = 1 / 250_000
    expected = [low + (1 - low) / 2 * (1 + math.cos(math.pi * step / 8)) for step in range(1, 9)]
    assert found[4:] == pytest.approx(expected, rel=1e-12)


def test_a_warm_up_longer_than_the_run_is_all_there_is() -> None:
    assert factors("cosine", 3, warmup=10) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("schedule", list(THEIRS))
@pytest.mark.parametrize("warmup", [0, 1, 3, 5])
@pytest.mark.parametrize("total", [1, 2, 3, 4, 5])
def test_short_runs_and_steps_beyond_the_end_have_a_factor(schedule: str, total: int, warmup: int) -> None:
    found = [factor_at(schedule, step, total, warmup) for step in range(1, total + 4)]
    assert all(0.0 <= factor <= 1.0 for factor in found)
    if warmup < total:
        assert found[-2] == found[-1]
