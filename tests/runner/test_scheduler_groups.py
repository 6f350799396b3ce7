"""The scheduler with groups of models that one worker trains together."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import M, Stage, machine_state

from forge_tui.protocol.phases import RunState


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Five models in groups of two, two workers at once."""
    with Stage(tmp_path, models=5, engine={"fuse": 2}) as one:
        yield one


def members(stage: Stage) -> list[tuple[int, ...]]:
    """The groups at work."""
    return [actor.members for actor in stage.actors]


def test_groups_run_as_many_at_once_as_workers_are_allowed(stage: Stage) -> None:
    assert members(stage) == [(1, 2), (3, 4)]
    stage.turn(*stage.actor(1).completes())
    assert members(stage) == [(3, 4), (5,)]
    assert [stage.phase(index) for index in (1, 2)] == [M.COMPLETED, M.COMPLETED]
    stage.turn(*stage.actor(3).completes(), *stage.actor(5).completes())
    assert stage.state is RunState.COMPLETED


def test_one_of_a_group_is_cancelled_and_the_others_go_on(stage: Stage) -> None:
    group = stage.actor(1)
    stage.turn(*group.begins())
    cancel = stage.command("cancel", model="planner_2")
    stage.turn()
    assert group.listen() == ["leave"]
    assert not group.worker.killed
    stage.now += 60  # no patience ends: the others' work is not given up
    stage.turn()
    assert not group.worker.killed
    stage.turn(*group.leaves(2))
    assert stage.phase(2) is M.CANCELLED
    assert stage.answers(cancel) == [("accepted", None), ("done", None)]
    assert stage.journal.models[2].group is None
    assert members(stage) == [(1, 2), (3, 4)]  # as they were started
    stage.turn(*group.completes())
    assert (stage.phase(1), stage.phase(2)) == (M.COMPLETED, M.CANCELLED)
    stage.command("retry", model="planner_2")
    stage.turn()
    stage.turn(*stage.actor(3).completes(), *stage.actor(5).completes())
    assert members(stage) == [(2,)]


def test_one_that_is_done_leaves_its_group_and_a_cancel_comes_too_late(stage: Stage) -> None:
    group = stage.actor(1)
    stage.turn(*group.begins(), *group.trains())
    cancel = stage.command("cancel", model="planner_2")
    stage.turn()
    stage.turn(*group.is_done_early(2, "stopped early at epoch 1"))
    assert (stage.phase(1), stage.phase(2)) == (M.TRAINING, M.COMPLETED)
    assert stage.answers(cancel) == [("accepted", None), ("failed", "planner_2 was completed before")]
    assert [event["reason"] for event in stage.events("decision") if event["kind"] == "group"] == [
        "planner_2 leaves its group: stopped early at epoch 1"
    ]
    stage.turn(*group.completes())
    stage.turn(*stage.actor(3).completes(), *stage.actor(5).completes())
    assert stage.state is RunState.COMPLETED
    assert stage.events("resource_warning") == []


def test_when_all_of_a_group_are_cancelled_it_stops(stage: Stage) -> None:
    group = stage.actor(1)
    stage.turn(*group.begins())
    stage.command("cancel", model="planner_1")
    stage.command("cancel", model="planner_2")
    stage.turn()
    assert group.listen() == ["leave", "stop"]
    stage.turn(*group.stops())
    assert (stage.phase(1), stage.phase(2)) == (M.CANCELLED, M.CANCELLED)


def test_one_that_waits_is_taken_out_of_its_group(tmp_path: Path) -> None:
    with Stage(tmp_path, models=4, requested=1, engine={"fuse": 2}) as stage:
        stage.command("cancel", model="planner_3")
        stage.turn()
        stage.turn(*stage.actor(1).completes())
        assert members(stage) == [(4,)]


def test_one_that_diverges_leaves_its_group_and_goes_back_alone(tmp_path: Path) -> None:
    with Stage(tmp_path, models=2, engine={"fuse": 2}, training={"on_divergence": "lower"}) as stage:
        group = stage.actor(1)
        stage.turn(*group.begins(), *group.diverges(2))
        assert (stage.phase(1), stage.phase(2)) == (M.TRAINING, M.QUEUED)
        assert stage.journal.models[2].learning_rate_factor == 0.5
        assert stage.journal.models[1].learning_rate_factor == 1.0
        assert [event["reason"] for event in stage.events("decision") if event["kind"] == "group"] == [
            "planner_2 leaves its group: the loss of epoch 3 is nan"
        ]
        stage.turn(*group.completes())
        assert members(stage) == [(2,)]
        stage.turn(*stage.actor(2).completes())
        assert stage.state is RunState.COMPLETED


def test_a_worker_that_is_killed_takes_its_whole_group_back_and_no_other(stage: Stage) -> None:
    group = stage.actor(1)
    stage.turn(*group.begins(), *group.saves(), group.exits(-signal.SIGKILL))
    assert members(stage) == [(3, 4), (1, 2)]
    assert [stage.journal.models[index].attempt for index in (1, 2, 3, 4)] == [2, 2, 1, 1]
    failed = stage.events("model_failed")
    assert [(event["model"], event["kind"], event["will_retry"]) for event in failed] == [
        ("planner_1", "signal", True), ("planner_2", "signal", True),
    ]  # fmt: skip


def test_a_group_that_alone_runs_out_of_memory_is_halved(tmp_path: Path) -> None:
    with Stage(tmp_path, models=4, engine={"fuse": 4}, run={"max_retries": 0}) as stage:
        group = stage.actor(1)
        stage.turn(*group.begins(), *group.fails("out_of_memory", "MemoryError"))
        assert members(stage) == [(1, 2)]
        stage.turn(*stage.actor(1).completes())
        assert members(stage) == [(3, 4)]
        assert [failed["will_retry"] for failed in stage.events("model_failed")] == [True] * 4  # it costs no retry


def test_a_pause_waits_for_all_of_a_group(stage: Stage) -> None:
    for actor in stage.actors:
        stage.turn(*actor.begins())
    stage.command("pause")
    stage.turn()
    stage.turn(*[action for actor in stage.actors for action in actor.enters(M.PAUSED)])
    stage.turn()
    assert stage.journal.info.state is RunState.PAUSED


def test_a_stop_queues_all_of_a_group(stage: Stage) -> None:
    for actor in stage.actors:
        stage.turn(*actor.begins())
    stage.command("stop")
    stage.turn()
    stage.turn(*[action for actor in stage.actors for action in actor.stops()])
    assert stage.state is RunState.STOPPED
    assert all(stage.phase(index) is M.QUEUED for index in range(1, 6))


def test_under_pressure_the_newest_group_makes_room_and_comes_back(stage: Stage) -> None:
    for actor in stage.actors:
        stage.turn(*actor.begins())
    newest = stage.actor(3)
    for _ in range(30):
        stage.look(machine_state(available=1.0))
        if "stop" in newest.listen():
            break
    assert newest.listen() == ["stop"]
    reasons = [event["reason"] for event in stage.events("decision") if event["kind"] == "requeue"]
    assert reasons[0].startswith("planner_3 and 1 more makes room after a checkpoint")
    stage.turn(*newest.stops())
    assert [stage.phase(index) for index in (3, 4)] == [M.QUEUED, M.QUEUED]
