"""Two runs of one user at once: together they keep within the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stage import Stage, machine_state

SHARED = {
    "policy": "shared", "memory_per_worker_gb": 0.1, "high_cpu_threshold": 100.0, "min_available_memory_gb": 0.0,
}  # fmt: skip


def limits(stage: Stage) -> list[tuple[int, str | None]]:
    """How many workers were allowed, each time that changed, and what would allow more."""
    return [(event["workers"], event["hint"]) for event in stage.events("worker_limit")]


def test_four_cpus_half_of_them_ours_one_run_has_both_two_share_them_and_the_one_left_has_both_again(
    tmp_path: Path,
) -> None:
    about: dict[str, Any] = {
        "models": 2, "resources": machine_state(cpu_count=4), "state": tmp_path / "state", "rules": SHARED,
    }  # fmt: skip
    with Stage(tmp_path / "one", **about) as one:
        assert one.engine.started == [1, 2]
        for actor in one.actors:
            one.turn(*actor.begins())
        with Stage(tmp_path / "two", **about) as two:
            assert two.engine.started == [1]
            assert limits(two) == [(1, "--after RUN")]
            one.look()
            assert [workers for workers, _ in limits(one)] == [2, 1]
            first, newest = one.actors
            assert (first.listen(), newest.listen()) == ([], ["stop"])
            one.turn(*newest.stops())
            assert [actor.index for actor in one.actors] == [1]
            (requeued,) = [event["reason"] for event in one.events("decision") if event["kind"] == "requeue"]
            assert requeued == (
                "planner_2 makes room after a checkpoint: 1 instead of 2: your other runs have 1 worker on 1 CPU, "
                "and all your runs together may use 2 CPUs"
            )
            for _ in range(10):
                one.look()
                two.look()
            assert [len(one.actors), len(two.actors)] == [1, 1]
        for _ in range(10):
            one.look()
        assert sorted(actor.index for actor in one.actors) == [1, 2]
        assert [workers for workers, _ in limits(one)] == [2, 1, 2]
