"""What a run settles where its settings say `auto`: from measured figures, remembered or new, nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forge_tui.errors import ForgeError
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import WorkerLimit
from forge_tui.runner import groups
from forge_tui.runner.autotune import Settled, settle
from forge_tui.runner.remembered import Remembered
from forge_tui.runner.run_planner import group_sizes
from forge_tui.settings.schema import Settings, from_plain

INSPECTION = {
    "parameters": 104_000, "train_samples": 640, "validation_samples": 0, "features": 64, "classes": 10,
    "task": "classification",
}  # fmt: skip
EPOCH_STEPS = 20


def settings(
    models: int = 12, fuse: int | str = "auto", mode: str = "parallel", threads: int | str = 1, **training: Any
) -> Settings:
    return from_plain(
        {
            "training": {"training_mode": mode, **training},
            "run": {"models": models},
            "engine": {"fuse": fuse},
            "resources": {"threads": threads, "policy": "dedicated"},
        }
    )


class Measuring:
    """Workers that train at given rates: steps per second of a worker by (models, threads), 0 for want of memory."""

    def __init__(self, rates: dict[tuple[int, int], float], shares: Sequence[float] = (1.0,)) -> None:
        """`shares`: how much of a CPU the workers get while they are asked, one time after the other, in turn."""
        self.rates = rates
        self.shares = itertools.cycle(shares)
        self.asked: list[tuple[list[tuple[int, int]], int, float]] = []

    def __call__(self, ways: Sequence[tuple[int, int, bool]], workers: int, seconds: float) -> list[dict[str, Any]]:
        share = next(self.shares)
        self.asked.append(([(models, threads) for models, threads, _ in ways], workers, seconds))
        told = [
            {
                "models": models, "threads": threads, "steps_per_second": self.rates[models, threads],
                "validation_seconds": 0.0, "checkpoint_seconds": 0.0, "state_seconds": 0.0,
                "worker_bytes": 1_000 * models, "cpu_share": share,
            }
            for models, threads, _ in ways
        ]  # fmt: skip
        return [{"ways": told, "epoch_steps": EPOCH_STEPS, "load_seconds": 0.0, "save_seconds": 0.0}] * workers


def chosen(
    given: Settings,
    ask: Measuring,
    state: Path,
    workers: int = 2,
    threads_allowed: int = 1,
    measuring: int | None = None,
    now: float = 1.7e9,
    quiet: bool = True,
    code: str | None = None,
    problem: str | None = None,
    **machine: Any,
) -> Settled:
    limit = WorkerLimit(workers, workers, "dedicated", "", "none", None, threads_allowed)
    resources = SystemResources(**{"cpu_count": 2, **machine}, **_MACHINE)
    remembered = Remembered(given, INSPECTION, resources, "cpu", quiet=quiet, code=code, state=state, clock=lambda: now)
    return settle(given, limit, measuring or workers, ask, remembered, problem)


_MACHINE = {
    "memory_gb": 64.0, "available_memory_gb": 64.0, "cpu_usage_percent": 0.0, "recommended_workers": 6,
    "memory_per_worker_gb": 8.0,
}  # fmt: skip


def by_size(*rates: float) -> Measuring:
    """12 models by 2 workers: groups of 1, 2, 3 and 6."""
    return Measuring({(size, 1): rate for size, rate in zip((1, 2, 3, 6), rates, strict=True)})


@pytest.mark.parametrize(
    ("models", "workers", "expected"),
    [(12, 2, [1, 2, 3, 6]), (12, 12, [1]), (1_000, 2, [1, 2, 4, 8, 16, 32, 63]), (1, 1, [1])],
)
def test_groups_up_to_a_workers_share_are_worth_measuring(models: int, workers: int, expected: list[int]) -> None:
    assert group_sizes(models, workers) == expected


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (by_size(100.0, 180.0, 300.0, 400.0), 6),
        (by_size(100.0, 102.0, 103.0, 104.0), 1),  # not worth it
        (by_size(100.0, 180.0, 200.0, 190.0), 3),
        (by_size(100.0, 180.0, 0.0, 0.0), 2),  # the larger ones did not fit
    ],
)
def test_the_soonest_group_is_taken_and_why(ask: Measuring, expected: int, tmp_path: Path) -> None:
    found = chosen(settings(), ask, tmp_path)
    assert (found.fuse, found.threads, found.worker_bytes) == (expected, 1, 1_000 * expected)
    kinds = dict(found.reasons)
    assert kinds["threads"] == "1 thread per worker, as set or all that the rules allow"
    assert kinds["group"].startswith(f"{expected} model")
    assert "measured, steps/s by models trained together 1: 100, " in kinds["group"]


@pytest.mark.parametrize(
    ("ask", "sizes", "expected"),
    [
        (by_size(100.0, 180.0, 300.0, 400.0), [1, 6, 3], 6),
        (by_size(100.0, 180.0, 390.0, 400.0), [1, 6, 3, 2], 3),  # nearly as soon done: a smaller one may be sooner
        (by_size(100.0, 180.0, 170.0, 90.0), [1, 6, 3, 2], 2),
        (by_size(100.0, 180.0, 300.0, 0.0), [1, 6, 3, 2], 3),  # the largest did not fit
    ],
)
def test_smaller_groups_are_measured_while_they_gain(
    ask: Measuring, sizes: list[int], expected: int, tmp_path: Path
) -> None:
    assert chosen(settings(), ask, tmp_path).fuse == expected
    assert [size for ways, _, _ in ask.asked for size, _ in ways] == sizes


def test_all_workers_measure_at_once_and_one_model_first(tmp_path: Path) -> None:
    ask = by_size(100.0, 200.0, 300.0, 600.0)
    chosen(settings(), ask, tmp_path)
    assert [(ways, workers) for ways, workers, _ in ask.asked] == [([(1, 1)], 2), ([(6, 1)], 2), ([(3, 1)], 2)]
    # Of 12 models of 2,000 steps, 120 s: no longer than a part of that, and no longer than enough.
    assert ask.asked[1][2] == 0.3
    ask = by_size(2_000.0, 2_000.0, 2_000.0, 2_000.0)
    chosen(settings(), ask, tmp_path / "short")
    assert ask.asked[1][2] == 0.08


def test_a_run_that_is_over_in_seconds_does_not_wait_for_groups(tmp_path: Path) -> None:
    ask = Measuring({(1, 1): 2_500.0})
    found = chosen(settings(), ask, tmp_path)
    assert found.fuse == 1
    assert dict(found.reasons)["group"] == (
        "1 model per worker: a run of less than 5 s does not wait for groups to be measured"
    )


def test_threads_are_measured_too_and_larger_groups_may_have_all_of_them(tmp_path: Path) -> None:
    rates = {(1, 1): 100.0, (1, 2): 50.0, (2, 1): 120.0, (3, 1): 130.0, (6, 1): 140.0}
    ask = Measuring(rates | {(2, 2): 150.0, (3, 2): 200.0, (6, 2): 300.0})
    found = chosen(settings(threads="auto"), ask, tmp_path, threads_allowed=2)
    assert (found.fuse, found.threads) == (6, 2)
    assert ask.asked[0][0] == [(1, 1), (1, 2)]
    assert ask.asked[1][0] == [(6, 1), (6, 2)]


def test_series_has_only_threads_to_choose(tmp_path: Path) -> None:
    ask = Measuring({(1, 1): 1_000.0, (1, 2): 500.0})
    found = chosen(settings(mode="series", threads="auto"), ask, tmp_path, workers=1, threads_allowed=2)
    assert (found.fuse, found.threads) == (1, 1)
    assert found.reasons == (("threads", "1 thread per worker: measured, steps/s by threads 1: 1000, 2: 500"),)


def test_what_is_given_is_taken_and_nothing_measured(tmp_path: Path) -> None:
    ask = Measuring({})
    assert chosen(settings(fuse=3), ask, tmp_path).fuse == 3
    assert chosen(settings(mode="series"), ask, tmp_path, workers=1).fuse == 1
    assert chosen(settings(models=2), ask, tmp_path).fuse == 1  # each worker has one anyway
    assert ask.asked == []
    assert groups.settled(settings(fuse=3), 6).engine.fuse == 3
    assert groups.settled(settings(), 6).engine.fuse == 6


def test_where_not_all_have_room_to_measure_fewer_do(tmp_path: Path) -> None:
    ask = by_size(100.0, 180.0, 300.0, 400.0)
    assert chosen(settings(), ask, tmp_path, measuring=1).fuse == 6
    assert {workers for _, workers, _ in ask.asked} == {1}


def test_a_worker_that_is_ended_while_it_measures_keeps_no_run_from_starting(tmp_path: Path) -> None:
    def ended(ways: Sequence[tuple[int, int]], workers: int, seconds: float) -> list[dict[str, Any]]:
        raise ForgeError("the worker that was to read the data was killed by SIGKILL without an answer; try again")

    found = chosen(settings(), ended, tmp_path)  # type: ignore[arg-type]
    assert (found.fuse, found.threads, found.worker_bytes) == (1, 1, None)
    assert "was killed by SIGKILL" in found.reasons[0][1]


# --- remembered


def test_the_next_run_like_it_measures_nothing(tmp_path: Path) -> None:
    first = chosen(settings(), by_size(100.0, 180.0, 300.0, 200.0), tmp_path)
    ask = Measuring({})
    again = chosen(settings(learning_rate=0.01, epochs=200), ask, tmp_path, now=1.7e9 + 86_400)
    assert ask.asked == []
    assert (again.fuse, again.threads, again.worker_bytes) == (first.fuse, first.threads, first.worker_bytes)
    assert "3 models per worker: measured on 2023-11-" in dict(again.reasons)["group"]


def test_what_is_measured_beside_others_work_is_not_remembered(tmp_path: Path) -> None:
    chosen(settings(), by_size(100.0, 180.0, 300.0, 200.0), tmp_path, quiet=False)
    ask = by_size(100.0, 180.0, 300.0, 400.0)
    assert chosen(settings(), ask, tmp_path).fuse == 6
    assert ask.asked


def test_how_busy_others_were_while_a_group_was_measured_does_not_decide(tmp_path: Path) -> None:
    for shares in ((0.3, 1.0, 0.4), (1.0, 0.25, 0.9), (0.5, 0.9, 0.3)):
        ask = by_size(1_200.0, 1_450.0, 1_750.0, 1_600.0)
        ask.shares = itertools.cycle(shares)
        assert chosen(settings(), ask, tmp_path / str(shares)).fuse == 3


def test_what_workers_without_a_whole_cpu_measured_is_not_remembered(tmp_path: Path) -> None:
    ask = by_size(100.0, 180.0, 300.0, 200.0)
    ask.shares = itertools.cycle((0.6,))
    assert chosen(settings(), ask, tmp_path).fuse == 3  # nothing was at work when the machine was looked at
    again = by_size(100.0, 180.0, 300.0, 400.0)
    assert chosen(settings(), again, tmp_path).fuse == 6
    assert again.asked


def test_custom_code_is_known_again_by_what_it_is_made_of(tmp_path: Path) -> None:
    own = settings(model_type="/there/net.py")
    chosen(own, by_size(100.0, 180.0, 300.0, 200.0), tmp_path, code="one")
    ask = Measuring({})
    assert chosen(own, ask, tmp_path, code="one").fuse == 3
    assert ask.asked == []
    others = (settings(model_type="/there/net.py"), "two"), (settings(model_type="/there/other.py"), "one"), (own, None)
    for given, code in (*others, (replace(own, model={"hidden": 3}), "one")):
        ask = by_size(100.0, 180.0, 300.0, 400.0)
        assert chosen(given, ask, tmp_path, code=code).fuse == 6
        assert ask.asked


@pytest.mark.parametrize("changed", [{"batch_size": 64}, {"optimizer": "sgd"}, {"model_type": "reasoner"}])
def test_another_configuration_is_measured_anew(changed: dict[str, Any], tmp_path: Path) -> None:
    chosen(settings(), by_size(100.0, 180.0, 300.0, 200.0), tmp_path)
    ask = by_size(100.0, 180.0, 300.0, 400.0)
    assert chosen(settings(**changed), ask, tmp_path).fuse == 6
    assert ask.asked


def test_another_machine_or_a_month_later_is_measured_anew(tmp_path: Path) -> None:
    chosen(settings(), by_size(100.0, 180.0, 300.0, 200.0), tmp_path)
    for changed in ({"cpu_count": 4}, {"now": 1.7e9 + 31 * 86_400}):
        ask = by_size(100.0, 180.0, 300.0, 400.0)
        assert chosen(settings(), ask, tmp_path / "", **changed).fuse == 6
        assert ask.asked


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"steps_per_second": 300.0', '"steps_per_second": "many"'),
        lambda text: text.replace('"steps_per_second": 300.0', '"steps_per_second": NaN'),
        lambda text: text.replace('"v": 2', '"v": 3'),
        lambda text: "[" * 100_000,
    ],
)
def test_what_is_not_whole_is_measured_anew(damage: Any, tmp_path: Path) -> None:
    chosen(settings(), by_size(100.0, 180.0, 300.0, 200.0), tmp_path)
    (file,) = (tmp_path / "measured").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(damage(file.read_text(encoding="utf-8")), encoding="utf-8")
    ask = by_size(100.0, 180.0, 300.0, 400.0)
    assert chosen(settings(), ask, tmp_path).fuse == 6
    assert ask.asked


def test_a_state_directory_that_cannot_be_written_only_means_measuring_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        ask = by_size(100.0, 180.0, 300.0, 200.0)
        assert chosen(settings(), ask, tmp_path / "file").fuse == 3
        assert ask.asked


def test_only_the_newest_configurations_are_kept(tmp_path: Path) -> None:
    (tmp_path / "measured").mkdir()
    for number in range(250):
        (tmp_path / "measured" / f"{number}.json").write_text("{}")
    chosen(settings(), by_size(100.0, 180.0, 300.0, 200.0), tmp_path)
    assert len(list((tmp_path / "measured").iterdir())) == 200


def test_models_that_cannot_be_trained_together_are_trained_alone(tmp_path: Path) -> None:
    why = "it draws random numbers"
    told = ("group", f"1 model per worker: such models cannot be trained together ({why})")
    ask = Measuring({})
    found = chosen(settings(), ask, tmp_path, problem=why)
    assert (found.fuse, ask.asked) == (1, [])
    assert told in found.reasons
    measured = chosen(
        settings(threads="auto"), Measuring({(1, 1): 9.0, (1, 2): 5.0}), tmp_path, problem=why, threads_allowed=2
    )
    assert told in measured.reasons
    assert told not in chosen(settings(fuse=1), ask, tmp_path, problem=why).reasons


@pytest.mark.parametrize(("later", "kept"), [(86_400.0, True), (31 * 86_400.0, False), (-31 * 86_400.0, False)])
def test_what_was_measured_counts_for_a_month_and_not_longer_because_the_clock_was_set_back(
    tmp_path: Path, later: float, kept: bool
) -> None:
    ask = by_size(100.0, 180.0, 300.0, 400.0)
    chosen(settings(), ask, tmp_path)
    asked = by_size(100.0, 180.0, 300.0, 400.0)
    chosen(settings(), asked, tmp_path, now=1.7e9 + later)
    assert (asked.asked == []) is kept
