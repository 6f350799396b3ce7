"""The whole scheduler on GPUs that no machine has: who gets which, and what happens when one is full or lost."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
from gpu_server import GpuServer
from placing import LOST, OTHERS, Day
from stage import M, Stage, machine_state

from forge_tui.engines.base import EndKind
from forge_tui.protocol.phases import RunState
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import GIB, DeviceShare
from forge_tui.runner.device_pool import GROW_SECONDS
from forge_tui.runs.claims import Claims
from forge_tui.runs.layout import RunDirectory

OUT_OF_MEMORY = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
BROKEN = "AcceleratorError: CUDA error: uncorrectable ECC error encountered"


def machine(server: GpuServer) -> SystemResources:
    return machine_state(cpu_count=64, memory_gb=512.0, available=500.0, gpus=server.figures())


def on(server: GpuServer, base: Path, gib: float | None = 5.0, *, models: int = 4, **changes: Any) -> Stage:
    """A run with as many workers as models, each of which is estimated to take `gib`."""

    def estimate(kind: Hashable) -> int | None:
        assert isinstance(kind, tuple)
        return None if gib is None else int(gib * kind[1] * GIB)

    values = {"models": models, "requested": models, "rules": {"policy": "dedicated"}, **changes}
    stage = Stage(base, resources=machine(server), devices=server.uuids, device_bytes=estimate, **values)
    stage.engine.pids = lambda worker: frozenset((1_000 + worker.id,))
    return stage


def places(stage: Stage) -> dict[int, str]:
    """The device of each worker by its first model."""
    return {actor.index: ",".join(actor.worker.devices) for actor in stage.actors}


def decisions(stage: Stage, kind: str) -> list[str]:
    return [event["reason"] for event in stage.events("decision") if event["kind"] == kind]


def test_workers_are_spread_over_the_devices_and_each_is_told_its_own(tmp_path: Path) -> None:
    server = GpuServer((80.0, 80.0))
    with on(server, tmp_path) as stage:
        a, b = server.uuids
        assert places(stage) == {1: a, 2: b, 3: a, 4: b}
        stage.turn(*stage.actor(2).begins())
        (started,) = stage.events("model_started")
        assert started["place"] == {"host": "a", "device": b}
        assert [reason.split(":")[0] for reason in decisions(stage, "place")] == [
            "planner_1 on GPU 0 (GPU-00000000)",
            "planner_2 on GPU 1 (GPU-00000001)",
            "planner_3 on GPU 0 (GPU-00000000), beside 1 worker",
            "planner_4 on GPU 1 (GPU-00000001), beside 1 worker",
        ]


def test_no_more_start_than_the_estimate_allows_until_one_is_measured(tmp_path: Path) -> None:
    server = GpuServer((80.0,))
    with on(server, tmp_path, gib=20.0) as stage:
        a = server.uuid(0)
        # 1.5 times 20 GiB and a context: two fit into 76 GiB.
        assert places(stage) == {1: a, 2: a}
        (held,) = decisions(stage, "hold")
        assert held.startswith("no room for planner_3, which needs 30.59 GiB (estimated, with a margin). GPU 0")
        for actor in stage.actors:
            server.put(1_000 + actor.worker.id, (a,), 10.0)
            stage.turn(*actor.begins())
        stage.look(machine(server))
        assert places(stage) == {1: a, 2: a}  # what it has before its first epoch says nothing
        stage.turn(*stage.actor(1).trains())
        stage.look(machine(server))
        assert places(stage) == {1: a, 2: a}  # this sample may have been begun before that epoch
        stage.look(machine(server))
        assert places(stage) == {1: a, 2: a, 3: a, 4: a}
        assert "it needs 11.50 GiB (measured, with a margin)" in decisions(stage, "place")[2]


def test_where_the_driver_counts_no_processes_the_workers_own_reports_count(tmp_path: Path) -> None:
    server = GpuServer((80.0,), counts_processes=False)
    with on(server, tmp_path, gib=None) as stage:
        a = server.uuid(0)
        assert places(stage) == {1: a}
        server.put(1_001, (a,), 30.0)
        stage.turn(*stage.actor(1).begins(), *stage.actor(1).trains())
        stage.turn(stage.actor(1).says(memory=GIB, shared=0, gpu_memory=30 * GIB))
        # A sample that was begun before the report may lack its memory: the worker counts with all of it once more.
        stage.look(machine(server))
        assert places(stage) == {1: a}
        stage.look(machine(server))
        assert places(stage) == {1: a, 2: a}


def test_figures_from_before_a_report_do_not_have_its_memory_however_often_they_come(tmp_path: Path) -> None:
    server = GpuServer((80.0,), counts_processes=False)
    with on(server, tmp_path, gib=None) as stage:
        stage.turn(*stage.actor(1).begins(), *stage.actor(1).trains())
        stage.look(before := machine(server))
        server.put(1_001, server.uuids, 45.0)
        stage.turn(stage.actor(1).says(memory=GIB, shared=0, gpu_memory=45 * GIB))
        for _ in range(3):
            stage.look(before)  # a driver that does not answer
        assert list(places(stage)) == [1]
        for _ in range(2):
            stage.look(machine(server))
        assert list(places(stage)) == [1]
        assert (
            "needs 51.75 GiB (measured, with a margin). GPU 0 (GPU-00000000): 24.25 GiB" in decisions(stage, "hold")[-1]
        )


def test_a_command_whose_processes_are_not_named_is_measured_by_what_is_on_its_gpu(tmp_path: Path) -> None:
    server = GpuServer((80.0, 80.0), counts_processes=False)
    with on(server, tmp_path, gib=None, models=4, requested=3) as stage:
        a, b = server.uuids
        assert places(stage) == {1: a, 2: b}
        server.put(1_001, (a,), 30.0)
        server.put(1_002, (b,), 20.0)
        for actor in stage.actors:
            stage.turn(*actor.begins(), *actor.trains())
        stage.look(machine(server))
        assert places(stage) == {1: a, 2: b}
        stage.look(machine(server))
        assert places(stage) == {1: a, 2: b, 3: a}
        assert "it needs 34.50 GiB (measured, with a margin)" in decisions(stage, "place")[2]


def test_a_report_counts_though_the_driver_has_seen_less_before_it(tmp_path: Path) -> None:
    server = GpuServer((80.0,))
    with on(server, tmp_path, gib=30.0) as stage:
        a = server.uuid(0)
        assert places(stage) == {1: a}
        server.put(1_001, (a,), 0.4)  # its context
        stage.look(machine(server))
        one = stage.actor(1)
        stage.turn(*one.begins(), *one.trains(), one.says(memory=GIB, shared=0, gpu_memory=50 * GIB))
        stage.look(machine(server))
        assert places(stage) == {1: a}
        assert stage.costs.need(("", 1)).memory == int(50 * GIB * 1.15)


def test_a_lack_of_a_devices_memory_makes_fewer_workers_there_and_nowhere_else(tmp_path: Path) -> None:
    server = GpuServer((80.0, 80.0))
    with on(server, tmp_path, gib=10.0, models=6) as stage:
        a, b = server.uuids
        assert sorted(places(stage).values()) == [a] * 3 + [b] * 3
        stage.turn(*stage.actor(5).fails("out_of_memory", OUT_OF_MEMORY))
        (event,) = stage.events("model_failed")
        assert (event["kind"], event["will_retry"]) == ("out_of_memory", True)
        assert decisions(stage, "shrink") == [
            "planner_5 ran out of memory on GPU 0 (GPU-00000000): at most 2 workers at once on it from now on"
        ]
        assert stage.governor.slots == 6
        assert places(stage)[5] == b
        stage.turn(*stage.actor(1).completes(), *stage.actor(2).completes())
        stage.play({})
        assert stage.state is RunState.COMPLETED


def test_a_group_that_runs_out_alone_is_halved_then_placed_on_a_larger_device_and_then_fails(tmp_path: Path) -> None:
    server = GpuServer((24.0, 80.0))
    settings = {"engine": {"fuse": 2}, "run": {"max_retries": 0}}
    with on(server, tmp_path, gib=1.0, models=4, **settings) as stage:
        a, b = server.uuids
        assert places(stage) == {1: b, 3: a}
        stage.turn(*stage.actor(3).completes())
        stage.turn(*stage.actor(1).fails("out_of_memory", OUT_OF_MEMORY))
        assert [actor.members for actor in stage.actors] == [(1,), (2,)]
        assert places(stage) == {1: b, 2: a}
        stage.turn(*stage.actor(2).fails("out_of_memory", OUT_OF_MEMORY))
        assert places(stage) == {1: b, 2: b}
        assert decisions(stage, "place")[4] == (
            "planner_2 ran out of memory alone on GPU 0 (GPU-00000000): only with more than 24.0 GiB now"
        )
        stage.turn(*stage.actor(1).completes())
        stage.turn(*stage.actor(2).fails("out_of_memory", OUT_OF_MEMORY))
        assert stage.state is RunState.FAILED
        assert stage.phase(2) is M.FAILED
        assert stage.journal.models[2].failures[-1].message == OUT_OF_MEMORY
        assert [one["will_retry"] for one in stage.events("model_failed")] == [True, True, True, False]


def test_a_lack_of_the_machines_memory_still_makes_fewer_workers_in_all(tmp_path: Path) -> None:
    server = GpuServer((80.0, 80.0))
    with on(server, tmp_path) as stage:
        stage.turn(stage.actor(3).dies(EndKind.OUT_OF_MEMORY))
        assert stage.governor.slots == 3


def test_models_on_a_device_that_is_lost_continue_on_another_at_no_cost(tmp_path: Path) -> None:
    server = GpuServer((80.0, 80.0))
    with on(server, tmp_path, run={"max_retries": 0}) as stage:
        a = server.uuid(0)
        for actor in stage.actors:
            stage.turn(*actor.begins(), *actor.trains(), *actor.saves())
        server.problems[1] = "has fallen off the bus"
        stage.look(machine(server))
        assert {actor.index for actor in stage.actors if actor.worker.killed} == {2, 4}
        stage.turn(*[actor.exits(-9) for actor in stage.actors if actor.worker.killed])
        assert set(places(stage).values()) == {a}
        failed = stage.events("model_failed")
        words = "GPU 1 (GPU-00000001): has fallen off the bus; nothing is placed on it any more"
        assert [(one["model"], one["kind"], one["message"], one["will_retry"]) for one in failed] == [
            ("planner_2", "device_lost", words, True),
            ("planner_4", "device_lost", words, True),
        ]
        assert [one["from_epoch"] for one in stage.events("model_retried")] == [1, 1]
        (warned,) = stage.events("resource_warning")
        assert (warned["kind"], warned["message"]) == ("device", words)
        stage.play({})
        assert stage.state is RunState.COMPLETED


def test_a_workers_words_take_its_device_out_and_doubtful_ones_only_with_the_drivers(tmp_path: Path) -> None:
    doubtful = "AcceleratorError: CUDA error: unspecified launch failure"
    server = GpuServer((80.0, 80.0, 80.0))
    with on(server, tmp_path, models=3, run={"max_retries": 0}) as stage:
        a, b, c = server.uuids
        stage.turn(*stage.actor(1).fails("exception", BROKEN))
        assert places(stage)[1] in (b, c)
        assert not {a} & set(places(stage).values())
        assert stage.events("model_failed")[0]["kind"] == "device_lost"
        second = stage.actor(2).worker.devices[0]
        server.problems[server.uuids.index(second)] = "Xid 79"
        stage.machine.latest = type(stage.machine.latest)(stage.machine.latest.number, machine(server))
        stage.turn(*stage.actor(2).fails("exception", doubtful))
        assert stage.events("model_failed")[1]["kind"] == "device_lost"
        assert second not in places(stage)[2]
        third = stage.actor(3)
        stage.turn(*third.fails("exception", doubtful))  # here the driver sees nothing wrong
        assert stage.phase(3) is M.FAILED
        assert len(stage.pool.usable) == 1


def test_a_device_in_exclusive_mode_has_one_worker_and_is_not_taken_for_a_lost_one(tmp_path: Path) -> None:
    busy = "AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable"
    server = GpuServer((80.0,))
    with on(server, tmp_path, models=2, run={"max_retries": 0}) as stage:
        assert sorted(places(stage)) == [1, 2]
        stage.turn(*stage.actor(2).fails("exception", busy))
        assert sorted(places(stage)) == [1]
        assert decisions(stage, "shrink") == [
            "planner_2 was refused by GPU 0 (GPU-00000000): at most 1 worker at once on it from now on"
        ]
        stage.turn(*stage.actor(1).completes())
        assert sorted(places(stage)) == [2]
        stage.turn(*stage.actor(2).fails("exception", busy))  # now it is another user who has it alone
        assert stage.state is RunState.STOPPED
        assert [one["kind"] for one in stage.events("model_failed")] == ["exception", "device_lost"]


def test_the_memory_of_another_run_of_this_user_is_not_others_before_it_is_seen(tmp_path: Path) -> None:
    server = GpuServer((80.0,))
    with on(server, tmp_path / "one", gib=10.0, models=2, state=tmp_path / "state") as stage:
        first, second = stage.actors
        server.put(1_000 + first.worker.id, server.uuids, 8.0)
        stage.turn(*first.begins(), *first.trains())
        stage.look(machine(server))
        server.put(1_000 + second.worker.id, server.uuids, 8.0)  # the claim does not know of it yet
        rules = {"policy": "shared"}
        with on(server, tmp_path / "two", gib=10.0, models=1, rules=rules, state=tmp_path / "state") as other:
            assert places(other) == {1: server.uuid(0)}
            other.turn(*other.actor(1).completes())
        stage.turn(*first.completes(), *second.completes())


def test_a_run_without_a_device_left_stops_with_the_reason_and_can_be_resumed(tmp_path: Path) -> None:
    server = GpuServer((80.0,))
    with on(server, tmp_path, models=2) as stage:
        stage.turn(*stage.actor(1).begins(), *stage.actor(1).trains(), *stage.actor(1).saves())
        server.problems[0] = "has fallen off the bus"
        stage.look(machine(server))
        stage.turn(*[actor.exits(-9) for actor in stage.actors])
        assert stage.state is RunState.STOPPED
        assert [stage.phase(index) for index in (1, 2)] == [M.QUEUED, M.QUEUED]
        assert stage.journal.info.reason == (
            "no device of the run is left (GPU 0 (GPU-00000000): has fallen off the bus); the run can be resumed when "
            "they are back"
        )


def test_a_training_function_or_command_gets_as_many_devices_as_it_asks_for(tmp_path: Path) -> None:
    server = GpuServer((80.0,) * 4)
    rules = {"policy": "dedicated", "devices_per_model": 2}
    with on(server, tmp_path, gib=None, models=3, rules=rules) as stage:
        uuids = server.uuids
        assert places(stage) == {1: ",".join(uuids[:2]), 2: ",".join(uuids[2:])}
        stage.turn(*stage.actor(1).completes())
        assert places(stage)[3] == ",".join(uuids[:2])


def test_what_another_run_of_this_user_has_claimed_is_not_taken(tmp_path: Path) -> None:
    server = GpuServer((80.0, 80.0), others={0: (10.0, 90.0)})
    other = Claims(RunDirectory(tmp_path / "other"), tmp_path / "state")
    other.set(1, 1, (DeviceShare(server.uuid(0), 1, held=10 * GIB, growth=60 * GIB),))
    try:
        with on(server, tmp_path, models=1, rules={"policy": "shared"}, state=tmp_path / "state") as stage:
            assert places(stage) == {1: server.uuid(1)}
            (claim,) = other.others()
            need = int(7.5 * GIB) + (600 << 20)
            (share,) = claim.devices
            assert (share.uuid, share.workers, share.held) == (server.uuid(1), 1, share.growth)
            assert need <= share.growth < need + (64 << 20)
            stage.turn(*stage.actor(1).completes())
    finally:
        other.release()


def test_a_device_grows_again_after_a_quiet_time(tmp_path: Path) -> None:
    server = GpuServer((80.0,))
    with on(server, tmp_path, models=3) as stage:
        stage.turn(*stage.actor(3).fails("out_of_memory", OUT_OF_MEMORY))
        assert sorted(places(stage)) == [1, 2]
        stage.look(machine(server))
        assert sorted(places(stage)) == [1, 2]
        stage.look(machine(server), seconds=GROW_SECONDS)
        assert sorted(places(stage)) == [1, 2, 3]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    played = Day(tmp_path_factory.mktemp("day"))
    assert played.play() is RunState.COMPLETED
    return played


def test_eight_gpus_with_forty_models_of_four_sizes_another_users_job_and_one_lost(day: Day) -> None:
    completed = [row.model for row in day.rows if row.end == "completed"]
    assert len(completed) == len(set(completed)) == 40
    assert {row.gpu for row in day.rows} == set(range(8)) - set(OTHERS)
    on_the_lost = [row for row in day.rows if row.gpu == LOST]
    assert {row.end for row in on_the_lost} <= {"completed", "its GPU was lost"}
    assert any(row.end == "its GPU was lost" for row in on_the_lost)
    assert day.lost == [f"GPU {LOST} (GPU-0000000{LOST}): has fallen off the bus; nothing is placed on it any more"]
    # The largest need 45 GiB: only GPUs with 80 have them.
    assert {row.gpu for row in day.rows if row.size == 500_000_000} == {0, 1, 3}
    assert any("policy shared" in reason for reason in day.holds)
