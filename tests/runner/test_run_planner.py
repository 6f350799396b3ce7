"""The planner: which ways are measured, and what a run is counted to take from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from forge_tui.errors import ResourceError
from forge_tui.protocol.plan import RunPlan, Way
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import OnDevices
from forge_tui.runner.run_planner import candidates, choose, compiled_way, estimate_ways, limit_in_words, measure_ways
from forge_tui.settings.schema import Settings, from_plain


def settings(models: int = 12, threads: int | str = "auto", epochs: int = 100, policy: str = "dedicated") -> Settings:
    return from_plain(
        {
            "training": {"training_mode": "parallel", "epochs": epochs},
            "run": {"models": models},
            "resources": {"policy": policy, "threads": threads},
        }
    )


def machine(cpus: int = 2, memory: float = 64.0) -> SystemResources:
    return SystemResources(cpus, memory, memory, 5.0, 6, 8.0)


def found(
    way: Way, rate: float, size: int = 1 << 20, validation: float = 0.0, checkpoint: float = 0.0, save: float = 0.0
) -> list[dict[str, Any]]:
    """What each of the way's workers tells: 20 steps an epoch, `rate` model-steps a second, no time to load."""
    told = {
        "steps_per_second": rate,
        "validation_seconds": validation,
        "checkpoint_seconds": checkpoint,
        "state_seconds": 0.0,
        "worker_bytes": size,
        "epoch_steps": 20,
        "load_seconds": 0.0,
        "save_seconds": save,
    }
    return [told] * way.workers


SERIES = Way("series", 1, 1, 1)
PAIR = Way("parallel", 2, 1, 1)
FOURS = Way("parallel", 2, 4, 1)
SIXES = Way("parallel", 2, 6, 1)


def test_on_gpus_one_worker_on_each_and_several_on_one_are_measured() -> None:
    ways = candidates(settings(models=64), machine(cpus=64), on=OnDevices(4))
    assert sorted({way.workers for way in ways}) == [1, 4, 32]  # at most 8 on each
    assert sorted({way.workers for way in candidates(settings(models=64), machine(cpus=64))}) == [1, 32, 64]
    words = limit_in_words(settings(models=64), machine(cpus=64), on=OnDevices(4))
    assert "GPU limit: at most 8 workers on each of 4 GPUs" in words


def test_groups_of_all_sizes_are_measured_with_as_many_workers_as_the_rules_allow() -> None:
    ways = candidates(settings(), machine())
    assert ways[:2] == [SERIES, Way("series", 1, 1, 2)]
    assert [way.models for way in ways if way.workers == 2] == [1, 2, 3, 6]
    assert [way for way in ways if way.workers == 1 and way.mode == "parallel"] == [Way("parallel", 1, 12, 2)]


def test_why_there_are_no_more_workers_is_told() -> None:
    told = limit_in_words(settings(policy="shared"), machine())
    assert told.startswith("1 instead of 12: CPU limit: at most half of the 2 CPUs")
    assert told.endswith("For more: --policy dedicated")
    assert limit_in_words(settings(models=2), machine()) == ""


@pytest.mark.parametrize("cpus", [1, 2, 3, 8, 64, 200])
@pytest.mark.parametrize("policy", ["shared", "dedicated"])
@pytest.mark.parametrize("models", [1, 2, 12, 10_000])
def test_no_way_breaks_the_rules(cpus: int, policy: str, models: int) -> None:
    ways = candidates(settings(models, policy=policy), machine(cpus, memory=4.0 * cpus))
    share = cpus if policy == "dedicated" else max(1, cpus // 2)
    assert len(set(ways)) == len(ways) <= 24
    for way in ways:
        assert way.workers * way.threads <= share
        assert way.workers <= models
        assert way.mode == "parallel" or way.workers == way.models == 1
        assert way.models <= -(-models // way.workers)


def test_threads_that_were_set_are_not_changed() -> None:
    assert {way.threads for way in candidates(settings(threads=3), machine(8))} == {3}


def test_one_model_has_only_threads_to_choose() -> None:
    assert candidates(settings(models=1), machine(2)) == [SERIES, Way("series", 1, 1, 2)]


def test_ways_of_as_many_workers_are_measured_at_once_and_told_apart() -> None:
    asked: list[tuple[list[tuple[int, int, bool]], int]] = []

    def ask(ways: Sequence[tuple[int, int, bool]], workers: int, seconds: float) -> list[dict[str, Any]]:
        asked.append((list(ways), workers))
        assert seconds == 0.3
        each = [{"steps_per_second": 10.0 * models} for models, *_ in ways]
        return [{"ways": each, "epoch_steps": 20, "load_seconds": 0.5, "save_seconds": 0.0}] * workers

    told = measure_ways([SERIES, PAIR, SIXES], ask, 0.3)
    assert asked == [([(1, 1, False)], 1), ([(1, 1, False), (6, 1, False)], 2)]
    assert [one["steps_per_second"] for one in told[SIXES]] == [60.0, 60.0]
    assert told[SERIES][0]["epoch_steps"] == 20


def test_the_run_is_counted_in_rounds_of_groups() -> None:
    # 12 models of 2,000 steps. Two workers of 4: three groups, so one trains a second one while the other rests.
    rates = {
        SERIES: found(SERIES, 1_000),
        PAIR: found(PAIR, 1_000),
        FOURS: found(FOURS, 4_000),
        SIXES: found(SIXES, 4_000),
    }
    seconds = {one.way: one.seconds for one in estimate_ways(settings(), rates, 1.5)}
    assert seconds == pytest.approx({SERIES: 25.5, PAIR: 13.5, FOURS: 5.5, SIXES: 4.5})


def test_a_smaller_last_group_is_counted_by_the_most_similar_size_measured() -> None:
    rates = {PAIR: found(PAIR, 1_000), FOURS: found(FOURS, 4_000)}
    # Five models as four and one: the four take 2 s, the one alone 2 s beside it.
    seconds = {one.way: one.seconds for one in estimate_ways(settings(models=5), rates, 0.0)}
    assert seconds[FOURS] == pytest.approx(2.0)
    # Seven as four and three: the three are counted like four.
    seconds = {one.way: one.seconds for one in estimate_ways(settings(models=7), rates, 0.0)}
    assert seconds[FOURS] == pytest.approx(2.0)


def test_validation_counts_once_an_epoch() -> None:
    rates = {SERIES: found(SERIES, 1_000, validation=0.01)}
    assert estimate_ways(settings(models=2), rates, 0.0)[0].seconds == pytest.approx(2 * (2.0 + 1.0))


def test_checkpoints_and_the_models_files_are_counted() -> None:
    # Training stands still at epochs 10 to 90; the last one is written, and the model itself.
    rates = {SERIES: found(SERIES, 1_000, checkpoint=0.002, save=0.01)}
    assert estimate_ways(settings(models=1), rates, 0.0)[0].seconds == pytest.approx(2.0 + 9 * 0.002 + 2 * 0.01)


def test_the_soonest_way_is_best_and_of_equals_the_smallest() -> None:
    rates = {SERIES: found(SERIES, 1_000), FOURS: found(FOURS, 5_000), SIXES: found(SIXES, 4_050)}
    plan = choose(estimate_ways(settings(), rates, 0.0), 2.0)
    assert plan.best.way == SIXES
    assert "series would take 8.1 times as long" in plan.reason
    rates = {PAIR: found(PAIR, 1_000), SIXES: found(SIXES, 1_010)}
    assert choose(estimate_ways(settings(), rates, 0.0), 2.0).best.way == PAIR


def test_steps_of_several_threads_count_for_more_than_was_measured() -> None:
    both = replace(SERIES, threads=2)
    rates = {SERIES: found(SERIES, 1_000), both: found(both, 1_100)}
    seconds = {one.way: one.seconds for one in estimate_ways(settings(), rates, 0.0)}
    assert seconds[SERIES] == pytest.approx(24.0)
    assert seconds[both] > seconds[SERIES]
    assert choose(estimate_ways(settings(), rates | {both: found(both, 1_300)}, 0.0), 0.0).best.way == both


def test_a_busy_machine_makes_all_ways_of_as_many_workers_slower_alike() -> None:
    rates = {
        SERIES: found(SERIES, 1_000),
        PAIR: found(PAIR, 1_000),
        FOURS: found(FOURS, 4_000),
        SIXES: found(SIXES, 4_000),
    }
    shares = {SERIES: 1.0, PAIR: 0.2, FOURS: 0.5, SIXES: 0.8}
    busy = {way: [{**one, "cpu_share": shares[way]} for one in told] for way, told in rates.items()}
    seconds = {one.way: one.seconds for one in estimate_ways(settings(), busy, 1.5)}
    assert seconds == pytest.approx({SERIES: 25.5, PAIR: 1.5 + 24.0, FOURS: 1.5 + 8.0, SIXES: 1.5 + 6.0})


def test_a_disk_that_was_slow_once_does_not_decide() -> None:
    rates = {FOURS: found(FOURS, 4_000, save=0.01), SIXES: found(SIXES, 4_000, save=2.0)}
    assert choose(estimate_ways(settings(), rates, 0.0), 0.0).best.way == SIXES


def test_what_does_not_fit_into_memory_is_not_measured_and_not_taken() -> None:
    def ask(ways: Sequence[tuple[int, int, bool]], workers: int, _seconds: float) -> list[dict[str, Any]]:
        each = [{"steps_per_second": 10.0 if models == 1 else 0.0} for models, *_ in ways]
        return [{"ways": each, "epoch_steps": 20, "load_seconds": 0.5, "save_seconds": 0.0}] * workers

    assert list(measure_ways([SERIES, PAIR, SIXES], ask, 0.3)) == [SERIES, PAIR]
    with pytest.raises(ResourceError, match="not enough memory"):
        choose((), 1.0)


def test_a_plan_survives_its_record() -> None:
    rates = {SERIES: found(SERIES, 1_000), SIXES: found(SIXES, 4_000)}
    plan = choose(estimate_ways(settings(), rates, 0.0), 2.0)
    assert RunPlan.from_record(plan.to_record()) == plan
    assert plan.best.way.flags == "--mode parallel --workers 2 --fuse 6 --threads 1"
    assert plan.best.way.settings["engine.fuse"] == 6


def test_compiled_models_are_for_long_runs_and_pay_for_compiling() -> None:
    quick = {SIXES: found(SIXES, 1_000), PAIR: found(PAIR, 500)}
    assert compiled_way(estimate_ways(settings(), quick, 0.0)) == []
    long = settings(epochs=10_000)
    (way,) = compiled_way(estimate_ways(long, quick, 0.0))
    assert way == Way("parallel", 2, 6, 1, compile=True)
    assert way.flags == "--mode parallel --workers 2 --fuse 6 --threads 1 --compile"
    assert way.settings["training.compile"] is True
    assert Way.from_record(way.to_record()) == way
    told = [{**one, "steps_per_second": 2_000.0, "compile_seconds": 20.0} for one in found(way, 2_000)]
    estimates = estimate_ways(long, quick | {way: told}, 0.0)
    assert {one.way: one.seconds for one in estimates}[way] == pytest.approx(6 * 20 * 10_000 / 2_000 + 20.0)
    assert choose(estimates, 0.0).best.way == way
    hardly = [{**one, "compile_seconds": 20.0} for one in found(way, 1_030)]
    assert choose(estimate_ways(long, quick | {way: hardly}, 0.0), 0.0).best.way == SIXES
