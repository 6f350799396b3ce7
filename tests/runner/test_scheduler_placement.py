"""Workers that are asked for and not placed yet, nodes that are lost, and what old attempts still send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from stage import Actor, M, Stage

from forge_tui.engines.base import EndKind
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import CheckpointSaved, EpochFinished
from forge_tui.protocol.job import Job
from forge_tui.protocol.phases import RunState
from forge_tui.runs.results import Result


def never(job: Job) -> None:
    """No place is ever found."""


def first_at_once(job: Job) -> int | None:
    """Only for the first model there is a place."""
    return 0 if job.index == 1 else None


def test_a_model_waits_as_queued_until_its_worker_is_placed(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, placing=lambda job: 3) as stage:
        for _ in range(2):
            stage.turn()
            assert (stage.phase(1), stage.actor(1).worker.place) == (M.QUEUED, None)
        stage.turn()
        assert stage.actor(1).worker.place is not None
        stage.turn(*stage.actor(1).completes())
        assert stage.state is RunState.COMPLETED
        assert stage.events("model_failed") == stage.events("model_retried") == []


def test_workers_that_are_asked_for_take_slots_and_the_queue_keeps_its_order(tmp_path: Path) -> None:
    with Stage(tmp_path, models=4, requested=2, placing=lambda job: 5 if job.index == 1 else 0) as stage:
        stage.turn(*stage.actor(2).completes())
        assert stage.engine.started == [1, 2, 3]
        stage.turn(*stage.actor(3).completes())
        assert stage.engine.started == [1, 2, 3, 4]
        stage.play({})
        assert stage.state is RunState.COMPLETED


@pytest.mark.parametrize(("command", "state"), [("stop", RunState.STOPPED), ("kill", RunState.KILLED)])
def test_to_end_a_run_its_workers_that_are_not_placed_are_withdrawn(
    tmp_path: Path, command: str, state: RunState
) -> None:
    with Stage(tmp_path, placing=never) as stage:
        asked = stage.command(command)
        stage.turn()
        assert [actor.worker.killed for actor in stage.actors] == [True, True]
        stage.turn()
        assert stage.state is state
        assert stage.answers(asked) == [("accepted", None), ("done", f"the run is {state}")]
        assert [stage.phase(index) for index in (1, 2, 3)] == [M.QUEUED] * 3
        assert [stage.journal.models[index].attempt for index in (1, 2, 3)] == [1, 1, 1]
        assert stage.events("model_failed") == []


def test_a_stop_ends_the_placed_worker_after_a_checkpoint_and_the_other_at_once(tmp_path: Path) -> None:
    with Stage(tmp_path, placing=first_at_once) as stage:
        one, other = stage.actors
        stage.turn(*one.begins(), *one.trains())
        stage.command("stop")
        stage.turn()
        assert (one.listen(), one.worker.killed) == (["stop"], False)
        assert (other.listen(), other.worker.killed) == ([], True)
        stage.turn(*one.stops())
        assert stage.state is RunState.STOPPED


def test_a_pause_withdraws_those_not_placed_and_asks_for_them_again_in_order_afterwards(tmp_path: Path) -> None:
    places: dict[int, int | None] = {1: 0, 2: None, 3: None}
    with Stage(tmp_path, models=4, requested=3, placing=lambda job: places[job.index]) as stage:
        one = stage.actor(1)
        stage.turn(*one.begins())
        pause = stage.command("pause")
        stage.turn()
        assert one.listen() == ["pause"]
        stage.turn(*one.enters(M.PAUSED))
        stage.turn()
        assert stage.answers(pause) == [("accepted", None), ("done", None)]
        assert [actor.index for actor in stage.actors] == [1]
        places.update({2: 0, 3: 0, 4: 0})
        stage.command("continue")
        stage.turn()
        assert stage.engine.started[3:] == [2, 3]
        assert one.listen() == ["pause", "continue"]


def test_a_cancelled_model_whose_worker_is_not_placed_is_withdrawn(tmp_path: Path) -> None:
    with Stage(tmp_path, placing=first_at_once) as stage:
        stage.turn(*stage.actor(1).begins())
        cancel = stage.command("cancel", model="planner_2")
        stage.turn()
        stage.turn()
        assert stage.phase(2) is M.CANCELLED
        assert stage.answers(cancel) == [("accepted", None), ("done", None)]
        assert stage.engine.started == [1, 2, 3]
        again = stage.command("retry", model="planner_2")
        stage.turn()
        assert stage.answers(again) == [("accepted", None), ("done", None)]


def test_of_a_group_that_is_not_placed_the_others_are_asked_for_again(tmp_path: Path) -> None:
    with Stage(tmp_path, models=3, requested=1, engine={"fuse": 3}, placing=lambda job: 4) as stage:
        stage.command("cancel", model="planner_2")
        stage.turn()
        stage.turn()
        assert [actor.members for actor in stage.actors] == [(1, 3)]
        assert stage.phase(2) is M.CANCELLED
        for _ in range(4):
            stage.turn()
        stage.turn(*stage.actor(1).completes())
        assert stage.state is RunState.FAILED  # one of its models is cancelled
        assert [stage.phase(index) for index in (1, 2, 3)] == [M.COMPLETED, M.CANCELLED, M.COMPLETED]


def test_fewer_workers_withdraw_the_newest_that_is_not_placed(tmp_path: Path) -> None:
    with Stage(tmp_path, requested=3, placing=first_at_once) as stage:
        fewer = stage.command("workers", workers=1)
        stage.turn()
        stage.turn()
        assert [actor.index for actor in stage.actors] == [1]
        assert stage.answers(fewer)[1][0] == "done"
        reasons = [event["reason"] for event in stage.events("decision") if event["kind"] == "requeue"]
        assert [reason.split(":")[0] for reason in reasons] == [
            "planner_3 makes room before its worker is placed", "planner_2 makes room before its worker is placed",
        ]  # fmt: skip
        stage.turn(*stage.actor(1).completes())
        assert stage.engine.started[3:] == [2]


def test_a_worker_hangs_from_when_it_is_placed_and_not_while_it_is_only_asked_for(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, run={"hang_seconds": 60.0}, placing=never) as stage:
        worker = stage.actor(1).worker
        for _ in range(10):
            stage.now += 1_000.0
            stage.turn()
        assert (worker.heard, worker.killed) == ([], False)
        worker.is_placed()
        stage.now += 59.0
        stage.turn()
        assert worker.heard == []
        stage.now += 1.0
        stage.turn()
        assert stage.actor(1).listen() == ["where"]


def test_no_further_worker_is_asked_for_where_the_engine_is_full(tmp_path: Path) -> None:
    with Stage(tmp_path, requested=3) as stage:
        stage.engine.room = 0
        stage.turn(*stage.actor(1).completes(), *stage.actor(2).completes())
        assert [actor.index for actor in stage.actors] == [3]
    with Stage(tmp_path / "other", requested=1) as stage:
        stage.engine.room = 0
        stage.turn(*stage.actor(1).completes())
        assert stage.engine.started == [1, 2]  # one may always be asked for


def test_a_worker_that_cannot_be_placed_fails_in_words_after_the_retries_that_are_allowed(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, run={"max_retries": 1}, placing=never) as stage:
        for _ in range(2):
            stage.turn(lambda: stage.actor(1).worker.ends(EndKind.NOT_PLACED, "found no place"))
        assert stage.state is RunState.FAILED
        failed = stage.events("model_failed")
        assert [(one["kind"], one["will_retry"]) for one in failed] == [("exit", True), ("exit", False)]
        assert failed[0]["message"] == "worker — found no place before the model was finished"


# --- lost nodes, old attempts


def lost(actor: Actor) -> Sequence:
    """Its node is lost."""
    return [actor.dies(EndKind.NODE_LOST)]


def test_the_models_of_a_lost_node_continue_elsewhere_from_their_newest_checkpoints_and_at_no_cost(
    tmp_path: Path,
) -> None:
    with Stage(tmp_path, models=3, requested=3, run={"max_retries": 0}) as stage:
        for actor in stage.actors:
            actor.worker.is_placed("b" if actor.index > 1 else "a")
            stage.turn(*actor.begins(), *actor.trains(), *actor.saves(), *actor.trains())
        stage.turn(lambda: stage.engine.lose("b"))
        assert [(actor.index, actor.worker.jobs[0].attempt) for actor in stage.actors] == [(1, 1), (3, 2), (2, 2)]
        failed = stage.events("model_failed")
        assert [(one["model"], one["kind"], one["will_retry"]) for one in failed] == [
            ("planner_2", "node_lost", True), ("planner_3", "node_lost", True),
        ]  # fmt: skip
        assert failed[0]["message"] == "worker fake-2 was lost with node b before the model was finished"
        assert [one["from_epoch"] for one in stage.events("model_retried")] == [1, 1]
        stage.play({})
        assert stage.state is RunState.COMPLETED


def test_what_an_old_attempt_still_sends_is_ignored(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1) as stage:
        old = stage.actor(1)
        stage.turn(*old.begins(), *old.trains(), *old.saves(), *lost(old))
        new = stage.actor(1)
        stage.turn(*new.begins())
        before, events = stage.journal.models[1], stage.events()
        assert (before.attempt, before.checkpoint_step) == (2, 20)
        stage.turn(*old.trains(), *old.saves(), *old.fails()[:-1], old.says(outcome="completed"), old.says(beats=3))
        assert stage.journal.models[1] == before
        assert stage.events() == events
        stage.turn(*new.trains())
        assert stage.journal.models[1].step == 40


def test_an_event_with_the_number_of_another_attempt_is_ignored_even_from_the_worker_at_work(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1) as stage:
        old = stage.actor(1)
        stage.turn(*old.begins(), *lost(old))
        new = stage.actor(1)
        stage.turn(*new.begins())
        about = {"time": 1.0, "model": "planner_1", "index": 1}
        epoch = EpochFinished(epoch=1, epochs=10, step=20, metrics={"loss": 0.1}, best_loss=0.1, attempt=1, **about)
        saved = CheckpointSaved(epoch=1, step=20, path="checkpoint", bytes=1, seconds=0.1, attempt=1, **about)
        stage.turn(new.tells(epoch), new.tells(saved))
        assert stage.journal.models[1].epoch == 0
        assert stage.journal.models[1].checkpoint_step == 0
        assert stage.events("epoch_finished") == stage.events("checkpoint_saved") == []


def test_only_what_the_current_attempt_has_finished_gets_its_final_name(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1) as stage:
        old = stage.actor(1)
        stage.turn(*old.begins(), *lost(old))
        new = stage.actor(1)
        stage.turn(
            *new.begins(), old.says(result=1, attempt=1), new.says(result=1, attempt=1), new.says(result=2, attempt=2)
        )
        assert stage.publisher.published == []
        assert (old.listen(), new.listen()) == ([], [])
        stage.publisher.refusal = RunDirectoryError("no room")
        stage.turn(new.says(result=1, attempt=2))
        assert stage.publisher.published == [Result("planner_1", 2)]
        assert new.worker.heard == [{"command": "published", "index": 1, "refused": "no room", "errno": None}]
        stage.publisher.refusal = None
        stage.turn(*new.completes())
        assert new.worker.heard[1] == {"command": "published", "index": 1, "refused": None, "errno": None}
        assert stage.state is RunState.COMPLETED


def test_a_model_that_started_is_recorded_with_the_engines_name_for_its_worker_and_its_place(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, placing=never) as stage:
        actor = stage.actor(1)
        actor.worker.is_placed("b")
        stage.turn(*actor.begins())
        (started,) = stage.events("model_started")
        assert (started["worker"], started["place"]) == ("fake-1", {"host": "b", "device": "cpu"})
        assert stage.journal.models[1].worker == "fake-1"


def test_the_next_attempt_inherits_checkpoints_up_to_the_newest_that_was_reported(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, run={"max_retries": 9}, training={"on_divergence": "lower"}) as stage:
        inherited = []
        for saves in (1, 0, 2):
            actor = stage.actor(1)
            inherited.append(actor.worker.jobs[0].inherited_step)
            stage.turn(*actor.begins())
            for _ in range(saves):
                stage.turn(*actor.trains(), *actor.saves())
            stage.turn(*actor.fails())
        actor = stage.actor(1)
        inherited.append(actor.worker.jobs[0].inherited_step)
        stage.turn(*actor.begins(), *actor.diverged([(60, 3), (20, 1)]))
        inherited.append(stage.actor(1).worker.jobs[0].inherited_step)
        rollback = stage.actor(1).worker.jobs[0].rollback
        assert rollback is not None
        assert inherited == [None, 20, 20, 60, rollback.step]


# --- whole runs by script


def test_a_run_by_script_with_a_failure_a_kill_a_lack_of_memory_and_a_lost_node(tmp_path: Path) -> None:
    def dies(kind: EndKind) -> Callable[[Actor], Sequence]:
        return lambda actor: [actor.dies(kind)]

    trains = [Actor.begins, Actor.trains, Actor.saves, Actor.trains]
    scripts = {
        1: [[*trains, Actor.fails], [*trains, Actor.completes]],
        2: [[*trains, dies(EndKind.SIGNAL)], [Actor.completes]],
        3: [[*trains, dies(EndKind.OUT_OF_MEMORY)], [Actor.completes]],
        4: [[*trains, lost], [*trains, lost], [*trains, lost], [*trains, lost], [Actor.completes]],
    }
    with Stage(tmp_path, models=5, requested=3, run={"max_retries": 1}, placing=lambda job: job.index % 3) as stage:
        stage.play(scripts)
        assert stage.state is RunState.COMPLETED
        attempts = [stage.journal.models[index].attempt for index in range(1, 6)]
        assert attempts == [2, 2, 2, 5, 1]
        kinds = {one["model"]: one["kind"] for one in stage.events("model_failed")}
        assert kinds == {
            "planner_1": "exception", "planner_2": "signal", "planner_3": "out_of_memory", "planner_4": "node_lost",
        }  # fmt: skip
        assert stage.governor.slots == 2  # one ran out of memory beside others


def test_what_a_model_waits_for_is_recorded_once_and_is_its_reason(tmp_path: Path) -> None:
    with Stage(tmp_path, models=2, requested=1, placing=never) as stage:
        worker = stage.actor(1).worker
        worker.waits = "1 CPU, 2 GiB"
        stage.turn()
        assert stage.events("decision") == []  # one that is placed soon has not waited
        stage.now += 1.5
        stage.turn()
        stage.turn()
        assert stage.journal.models[1].reason == "waiting for a place: 1 CPU, 2 GiB"
        assert stage.journal.models[2].reason is None
        worker.waits = "1 CPU, 2 GiB (the only node has less)"
        stage.turn()
        reasons = [event["reason"] for event in stage.events("decision") if event["kind"] == "place"]
        assert reasons == [
            "planner_1 waits for a place: 1 CPU, 2 GiB",
            "planner_1 waits for a place: 1 CPU, 2 GiB (the only node has less)",
        ]
        stage.turn(worker.is_placed, *stage.actor(1).begins())
        assert stage.journal.models[1].reason is None


def test_a_model_of_a_lost_node_says_where_it_continues(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1) as stage:
        actor = stage.actor(1)
        stage.turn(*actor.begins(), *actor.trains(), *actor.saves())
        stage.turn(lambda: [None for _ in stage.engine.lose("a")] and None)
        again = stage.actor(1)
        again.worker.is_placed("b")
        stage.turn(*again.begins())
        (reason,) = [event["reason"] for event in stage.events("decision") if event["kind"] == "place"]
        assert reason.startswith("planner_1 continues from epoch 1 on b: worker fake-1 was lost with node a")
        assert stage.journal.models[1].attempt == 2


def test_only_workers_on_the_same_machine_are_beside_one_that_runs_out_of_memory(tmp_path: Path) -> None:
    with Stage(tmp_path, models=2) as stage:
        one, other = stage.actors
        other.worker.is_placed("b")
        stage.turn(*one.begins(), *other.begins())
        stage.turn(one.dies(EndKind.OUT_OF_MEMORY))
        (failure,) = stage.events("model_failed")
        assert (failure["kind"], failure["will_retry"]) == ("out_of_memory", True)
        assert [event for event in stage.events("decision") if event["kind"] == "shrink"] == []


def test_a_model_that_takes_node_after_node_down_with_it_fails_in_the_end(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, run={"max_retries": 1}) as stage:
        for number in range(6):
            stage.turn(*stage.actor(1).begins())
            stage.turn(lambda: [None for _ in stage.engine.lose("a")] and None)
            assert stage.phase(1) is M.QUEUED, number
        stage.turn(*stage.actor(1).begins())
        stage.turn(lambda: [None for _ in stage.engine.lose("a")] and None)
        assert stage.state is RunState.FAILED


def test_a_checkpoint_between_two_lost_nodes_forgets_the_first(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, run={"max_retries": 0}) as stage:
        for _ in range(8):
            actor = stage.actor(1)
            stage.turn(*actor.begins(), *actor.trains(), *actor.saves())
            stage.turn(lambda: [None for _ in stage.engine.lose("a")] and None)
            assert stage.phase(1) is M.QUEUED
