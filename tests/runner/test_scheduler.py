"""The scheduler on a stage: who runs when, how commands are answered, what becomes of attempts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import M, Stage, machine_state

from forge_tui.protocol.phases import RunState
from forge_tui.resources.pressure import Pressure
from forge_tui.runner.scheduler import LONGEST_TICK_SECONDS, TICK_SECONDS
from forge_tui.runs.claims import Claims
from forge_tui.runs.layout import RunDirectory

SHORT_OF_MEMORY = machine_state(available=1.0)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Three models, two at once."""
    with Stage(tmp_path) as one:
        yield one


def test_models_run_in_order_as_many_at_once_as_allowed_and_the_run_completes(stage: Stage) -> None:
    assert stage.engine.started == [1, 2]
    stage.turn(*stage.actor(2).completes())
    assert stage.engine.started == [1, 2, 3]
    stage.turn(*stage.actor(1).completes(), *stage.actor(3).completes())
    assert stage.state is RunState.COMPLETED
    finished = stage.events("run_finished")
    assert [model["phase"] for model in finished[0]["models"]] == ["completed"] * 3


def test_a_worker_is_forked_ahead_once_all_places_are_taken_and_only_if_a_model_waits_for_one(tmp_path: Path) -> None:
    with Stage(tmp_path, models=4) as stage:
        assert (stage.engine.started, stage.engine.ahead) == ([1, 2], [False, True])
        stage.turn(*stage.actor(1).completes())
        stage.turn(*stage.actor(2).completes())
        assert (stage.engine.started, stage.engine.ahead) == ([1, 2, 3, 4], [False, True, True, False])


def test_no_worker_is_forked_ahead_where_memory_is_short(tmp_path: Path) -> None:
    with Stage(tmp_path, requested=1, resources=SHORT_OF_MEMORY) as stage:
        assert (stage.engine.started, stage.engine.ahead) == ([1], [False])


def test_a_pause_is_done_when_the_last_worker_holds_and_starts_nobody_meanwhile(stage: Stage) -> None:
    one, two = stage.actors
    stage.turn(*one.begins(), *two.begins())
    pause = stage.command("pause")
    stage.turn()
    assert one.listen() == two.listen() == ["pause"]
    stage.turn(*one.enters(M.PAUSED))
    assert stage.answers(pause) == [("accepted", None)]
    stage.turn(*two.completes())
    stage.turn()
    assert stage.answers(pause) == [("accepted", None), ("done", None)]
    assert stage.journal.info.state is RunState.PAUSED
    assert stage.engine.started == [1, 2]
    stage.command("continue")
    stage.turn()
    assert one.listen() == ["pause", "continue"]
    assert stage.journal.info.state is RunState.RUNNING
    assert stage.engine.started == [1, 2, 3]


def test_a_pause_taken_back_before_it_came_about_has_failed(stage: Stage) -> None:
    stage.turn(*stage.actor(1).begins())
    pause, on = stage.command("pause"), stage.command("continue")
    stage.turn()
    assert stage.answers(pause) == [("accepted", None), ("failed", "it was continued before it was paused")]
    assert stage.answers(on) == [("accepted", None), ("done", None)]
    assert stage.journal.info.state is RunState.RUNNING


def test_a_cancelled_worker_that_does_not_leave_is_ended(stage: Stage) -> None:
    stage.turn(*stage.actor(1).begins())
    stage.command("cancel", model="planner_1")
    stage.turn()
    stage.now += 9.9
    stage.turn()
    assert not stage.actor(1).worker.killed
    stage.now += 0.1
    stage.turn()
    assert stage.actor(1).worker.killed
    stage.turn(stage.actor(1).exits(-signal.SIGKILL))
    assert stage.phase(1) is M.CANCELLED
    assert stage.events("model_failed") == []


def test_at_a_rung_the_worse_models_end_and_their_places_go_to_the_next(tmp_path: Path) -> None:
    with Stage(tmp_path, models=4, requested=1, run={"halving": 2, "halving_first": 3}) as stage:
        losses = {1: 0.5, 2: 0.6, 3: 0.4, 4: 0.45}
        for index, loss in losses.items():
            actor = stage.actor(index)
            assert actor.jobs[0].rungs == (3, 6)
            stage.turn(*actor.begins(), actor.says(rung=index, epoch=3, loss=loss))
            assert actor.listen() == ["rung"]
            stage.turn(*(actor.completes() if actor.answers[-1] else actor.stops()))
        assert stage.state is RunState.COMPLETED
        assert [stage.phase(index) for index in losses] == [M.COMPLETED, M.CANCELLED, M.COMPLETED, M.COMPLETED]
        second = stage.journal.models[2]
        assert (second.pruned, second.reason, second.percent) == (True, "pruned at epoch 3: rank 2 of 2", 100.0)
        assert [one["reason"] for one in stage.events("decision") if one["kind"] == "prune"] == [
            "planner_2 pruned at epoch 3: rank 2 of 2"
        ]


def test_a_pruned_model_that_is_tried_again_is_trained_to_its_end(tmp_path: Path) -> None:
    with Stage(tmp_path, models=3, requested=1, run={"halving": 2}) as stage:
        stage.turn(
            *stage.actor(1).begins(), stage.actor(1).says(rung=1, epoch=1, loss=0.1), *stage.actor(1).completes()
        )
        pruned = stage.actor(2)
        stage.turn(*pruned.begins(), pruned.says(rung=2, epoch=1, loss=0.2), *pruned.stops())
        assert stage.journal.models[2].pruned
        stage.command("retry", model="planner_2")
        stage.turn()
        stage.turn(*stage.actor(3).completes())
        again = stage.actor(2)
        assert not stage.journal.models[2].pruned
        stage.turn(*again.begins(), again.says(rung=2, epoch=1, loss=0.2))
        again.listen()
        assert again.answers == [True]
        stage.turn(*again.completes())
        assert stage.state is RunState.COMPLETED


def test_stop_comes_before_pause_and_kill_before_stop(stage: Stage) -> None:
    one, two = stage.actors
    stage.turn(*one.begins(), *two.begins())
    stage.command("pause")
    stage.turn()
    stage.turn(*one.enters(M.PAUSED), *two.enters(M.PAUSED))
    stop = stage.command("stop")
    stage.turn()
    assert one.listen() == two.listen() == ["pause", "stop"]
    stage.turn(*one.stops())
    again, pause, kill = stage.command("stop"), stage.command("pause"), stage.command("kill")
    stage.turn()
    assert stage.answers(again) == [("refused", "it is ending already")]
    assert stage.answers(pause) == [("refused", "the run is ending")]
    assert two.worker.killed
    stage.turn(two.exits(-signal.SIGKILL))
    assert stage.state is RunState.KILLED
    assert stage.answers(stop) == stage.answers(kill) == [("accepted", None), ("done", "the run is killed")]
    assert [stage.phase(index) for index in (1, 2, 3)] == [M.QUEUED] * 3


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("dance", {}, "there is no command 'dance'"),
        ("cancel", {"model": "nobody"}, "there is no model 'nobody' in this run"),
        ("cancel", {}, "there is no model None in this run"),
        ("retry", {"model": "planner_1"}, "only a failed or cancelled model"),
        ("continue", {}, "it is not paused"),
        ("workers", {"workers": 0}, "must be a whole number from 1"),
        ("workers", {"workers": True}, "must be a whole number from 1"),
        ("workers", {"workers": "9"}, "must be a whole number from 1"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_words(stage: Stage, name: str, arguments: dict, reason: str) -> None:
    identity = stage.command(name, **arguments)
    stage.turn()
    [(outcome, said)] = stage.answers(identity)
    assert outcome == "refused"
    assert reason in str(said)


def test_another_number_of_workers_takes_the_newest_back_or_starts_more(tmp_path: Path) -> None:
    with Stage(tmp_path, models=4, requested=3) as stage:
        for actor in stage.actors:
            stage.turn(*actor.begins())
        fewer = stage.command("workers", workers=1)
        stage.turn()
        assert [actor.listen() for actor in stage.actors] == [[], ["stop"], ["stop"]]
        assert stage.answers(fewer) == [("accepted", None)]
        stage.turn(*stage.actor(3).stops())
        stage.turn(*stage.actor(2).stops())
        assert stage.answers(fewer)[1][0] == "done"
        assert [actor.index for actor in stage.actors] == [1]
        stage.command("workers", workers=4)
        stage.turn()
        assert sorted(actor.index for actor in stage.actors) == [1, 2, 3, 4]


def test_in_series_mode_the_number_of_workers_stays_one(tmp_path: Path) -> None:
    with Stage(tmp_path, requested=3, training={"training_mode": "series"}) as stage:
        identity = stage.command("workers", workers=2)
        stage.turn()
        assert stage.engine.started == [1]
        [(outcome, reason)] = stage.answers(identity)
        assert (outcome, "--mode parallel" in str(reason)) == ("refused", True)


def test_a_worker_without_a_step_is_asked_where_it_is_and_ended(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, run={"hang_seconds": 60.0}) as stage:
        [actor] = stage.actors
        stage.turn(*actor.begins())
        stage.now += 60.0
        stage.turn()
        assert (actor.listen(), actor.worker.killed) == (["where"], False)
        stage.turn(actor.says(where="File train.py, line 7"))
        assert actor.worker.killed
        stage.turn(actor.exits(-signal.SIGKILL))
        [failed] = stage.events("model_failed")
        assert (failed["kind"], failed["traceback"]) == ("hang", "File train.py, line 7")
        assert failed["will_retry"] is True
        assert stage.engine.started == [1, 1]


def test_failures_count_until_a_newer_checkpoint_and_retry_gives_a_fresh_allowance(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, run={"max_retries": 1}) as stage:
        stage.turn(*stage.actors[0].fails())
        actor = stage.actors[0]
        stage.turn(*actor.begins(), *actor.trains(), *actor.saves(), *actor.fails())
        assert stage.actors[0].worker.jobs[0].attempt == 3
        stage.command("pause")  # so that the run does not end with its only model
        stage.turn()
        stage.turn(*stage.actors[0].fails())
        assert stage.state is RunState.FAILED
        assert [failed["will_retry"] for failed in stage.events("model_failed")] == [True, True, False]
        assert [retried["from_epoch"] for retried in stage.events("model_retried")] == [0, 1]


def test_out_of_memory_beside_others_means_fewer_at_once_and_costs_no_retry(tmp_path: Path) -> None:
    with Stage(tmp_path, requested=3, run={"max_retries": 0}) as stage:
        stage.turn(*stage.actor(3).fails("out_of_memory", "MemoryError"))
        assert stage.governor.slots == 2
        assert stage.phase(3) is M.QUEUED
        assert [actor.index for actor in stage.actors] == [1, 2]
        stage.turn(*stage.actor(2).fails("out_of_memory", "MemoryError"))
        assert [actor.index for actor in stage.actors] == [1]
        stage.turn(*stage.actor(1).fails("out_of_memory", "MemoryError"))
        assert stage.phase(1) is M.FAILED  # it was alone
        reasons = [decision["reason"] for decision in stage.events("decision") if decision["kind"] == "shrink"]
        assert reasons == [
            "planner_3 ran out of memory: 2 workers at once from now on",
            "planner_2 ran out of memory: 1 worker at once from now on",
        ]


def test_pressure_takes_the_newest_back_one_by_one_and_quiet_lets_them_return(tmp_path: Path) -> None:
    waiting = Pressure("memory", 40.0, 20.0, "/proc/pressure/memory")
    with Stage(tmp_path, requested=3) as stage:
        for actor in stage.actors:
            stage.turn(*actor.begins())
        stage.look(machine_state(pressure=(waiting,)))
        assert [actor.is_told_to_go for actor in stage.actors] == [False, False, False]
        for _ in range(3):
            stage.look()
        assert [actor.is_told_to_go for actor in stage.actors] == [False, False, True]
        stage.turn(*stage.actor(3).stops())
        for _ in range(10):
            stage.look()
        stage.turn(*stage.actor(2).stops())
        for _ in range(100):
            stage.look()
        assert [actor.index for actor in stage.actors] == [1]
        assert not stage.actor(1).is_told_to_go
        for _ in range(200):
            stage.look(machine_state())
        assert sorted(actor.index for actor in stage.actors) == [1, 2, 3]
        kinds = [decision["kind"] for decision in stage.events("decision") if decision["kind"] != "hold"]
        assert kinds == ["requeue", "requeue", "grow", "grow"]


def test_a_run_can_be_stopped_and_its_models_cancelled_while_it_waits(tmp_path: Path) -> None:
    with Stage(tmp_path, waits=lambda: "waits for ever") as stage:
        cancel, pause = stage.command("cancel", model="planner_2"), stage.command("pause")
        stage.turn()
        assert stage.answers(cancel) == [("accepted", None), ("done", None)]
        assert stage.answers(pause) == [("refused", "it has not begun; stop ends it")]
        stop = stage.command("stop")
        stage.turn()
        assert stage.state is RunState.STOPPED
        assert stage.answers(stop) == [("accepted", None), ("done", "the run is stopped")]
        assert stage.engine.started == []


def test_the_time_limit_stops_the_run_after_a_checkpoint(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, run={"max_seconds": 100.0}) as stage:
        stage.turn(*stage.actors[0].begins())
        stage.now += 100.0
        stage.turn()
        assert stage.actors[0].listen() == ["stop"]
        stage.turn(*stage.actors[0].stops())
        assert stage.state is RunState.STOPPED
        assert stage.events("run_state_changed")[-1]["reason"] == (
            "time limit of 100 s ([run] max_seconds, --max-time)"
        )


def test_a_pause_that_came_about_is_done_even_if_the_run_is_let_go_on_at_once(stage: Stage) -> None:
    one, two = stage.actors
    stage.turn(*one.begins(), *two.begins())
    pause = stage.command("pause")
    stage.turn()
    stage.turn(*one.enters(M.PAUSED), *two.enters(M.PAUSED))
    stage.command("continue")
    stage.turn()
    assert stage.answers(pause) == [("accepted", None), ("done", None)]


def test_a_cancel_is_done_even_if_the_model_is_tried_again_at_once(stage: Stage) -> None:
    waiting = stage.command("cancel", model="planner_3")
    again = stage.command("retry", model="planner_3")
    stage.turn()
    assert stage.answers(waiting) == [("accepted", None), ("done", None)]
    assert stage.answers(again) == [("accepted", None), ("done", None)]
    working = stage.command("cancel", model="planner_1")
    stage.turn(*stage.actor(1).begins())
    assert stage.actor(1).listen() == ["stop"]
    again = stage.command("retry", model="planner_1")
    stage.turn(*stage.actor(1).stops())
    assert stage.answers(working) == [("accepted", None), ("done", None)]
    assert stage.answers(again)[0] == ("accepted", None)


def test_a_worker_that_told_its_failure_and_then_hangs_is_ended(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, run={"hang_seconds": 60.0}) as stage:
        [actor] = stage.actors
        stage.turn(*actor.begins(), actor.fails()[0])
        for _ in range(2):
            stage.now += 60.0
            stage.turn()
        assert actor.worker.killed
        stage.turn(actor.exits(-signal.SIGKILL))
        assert [failed["kind"] for failed in stage.events("model_failed")] == ["exception"]


def test_a_paused_worker_does_not_hang_but_one_that_does_not_go_on_does(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, run={"hang_seconds": 60.0}) as stage:
        [actor] = stage.actors
        stage.turn(*actor.begins())
        stage.command("pause")
        stage.turn()
        stage.turn(*actor.enters(M.PAUSED))
        for _ in range(10):
            stage.now += 1_000.0
            stage.turn()
        assert actor.listen() == ["pause"]
        stage.command("continue")
        stage.turn()
        stage.now += 59.0
        stage.turn()
        assert actor.listen() == ["pause", "continue"]
        stage.now += 2.0
        stage.turn()
        assert actor.listen() == ["pause", "continue", "where"]


def test_a_signal_without_a_name_is_told_by_its_number(stage: Stage) -> None:
    stage.turn(stage.actor(1).exits(-(signal.SIGRTMIN + 3)))
    [failed] = stage.events("model_failed")
    assert f"was killed by signal {signal.SIGRTMIN + 3}" in failed["message"]


def test_why_no_further_worker_starts_is_told_once_though_the_figures_change(tmp_path: Path) -> None:
    with Stage(tmp_path, models=3, requested=3, resources=machine_state(available=60.0)) as stage:
        stage.turn(*[actor.says(memory=25 * 2**30, shared=0) for actor in stage.actors])
        stage.machine.see(machine_state(available=10.0))
        stage.turn(*stage.actor(3).completes())
        stage.turn(*stage.actor(2).fails())
        for step in range(100):
            stage.machine.see(machine_state(available=10.0 + step / 100))
            stage.turn()
        assert [actor.index for actor in stage.actors] == [1]
        held = [decision["reason"] for decision in stage.events("decision") if decision["kind"] == "hold"]
        assert len(held) == 1
        assert "a further worker needs 28.75 GiB (measured, with a margin)" in held[0]


def test_memory_pressure_on_the_last_worker_is_warned_of_once(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1) as stage:
        for step in range(100):
            stage.look(machine_state(available=1.0 + step / 100))
        assert len(stage.events("resource_warning")) == 1
        assert not stage.actor(1).is_told_to_go
        for _ in range(30):
            stage.look(machine_state())
        stage.look(SHORT_OF_MEMORY)
        assert len(stage.events("resource_warning")) == 2


def test_a_run_that_waits_its_turn_claims_nothing_and_then_gets_what_is_there(tmp_path: Path) -> None:
    before = Claims(RunDirectory(tmp_path / "before"), tmp_path / "state")
    before.set(8, 1)
    waiting: list[str | None] = ["waits until before has ended (--after)"]
    with Stage(tmp_path, requested=3, waits=lambda: waiting[0]) as stage:
        for _ in range(3):
            stage.look()
        assert stage.journal.info.state is RunState.QUEUED
        assert sum(claim.workers for claim in before.others()) == 0
        before.release()
        waiting[0] = None
        stage.turn()
        assert stage.journal.info.state is RunState.RUNNING
        assert stage.engine.started == [1, 2, 3]
        stage.look()
        assert sum(claim.workers for claim in before.others()) == 3


def test_a_run_that_waits_its_turn_looks_ever_more_seldom_and_at_the_machine_not_at_all(tmp_path: Path) -> None:
    waiting: list[str | None] = ["waits until before has ended (--after)"]
    with Stage(tmp_path, waits=lambda: waiting[0]) as stage:
        assert stage.selector.timeouts == [TICK_SECONDS]
        for seconds in (10.0, 1_000.0):
            stage.now += seconds
            stage.turn()
        assert stage.selector.timeouts == [TICK_SECONDS, 0.5, LONGEST_TICK_SECONDS]
        assert not stage.machine.is_watched
        waiting[0] = None
        stage.turn()
        assert stage.machine.is_watched
        assert stage.machine.anew == 1  # what it knew was of the time before it waited
        assert stage.selector.timeouts[-1] == TICK_SECONDS


def test_each_divergence_goes_back_further_and_the_last_retries_are_from_the_start(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, training={"on_divergence": "lower"}, run={"max_retries": 2}) as stage:
        saved, told = [(40, 2), (20, 1)], []
        for _ in range(5):
            actor = stage.actors[0]
            (job,) = actor.worker.jobs
            step = job.rollback.step if job.rollback else None
            told.append((step, job.learning_rate_factor, job.rollbacks, job.epochs_recorded))
            first = [*actor.trains(), *actor.trains()] if step is None else []
            stage.turn(*actor.begins(), *first, *actor.saves(), *actor.diverged(saved))
        assert told == [
            (None, 1.0, 0, 0), (40, 0.5, 1, 2), (20, 0.25, 2, 1), (0, 0.125, 3, 0), (0, 0.0625, 4, 0),
        ]  # fmt: skip
        assert stage.state is RunState.FAILED
        assert [failed["will_retry"] for failed in stage.events("model_failed")] == [True] * 4 + [False]


def test_a_new_checkpoint_gives_no_new_retries_but_an_epoch_beyond_the_divergence_does(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, training={"on_divergence": "lower"}, run={"max_retries": 1}) as stage:
        actor = stage.actors[0]  # the loss of epoch n is 1 / n
        stage.turn(*actor.begins(), *actor.trains(), *actor.trains(), *actor.saves(), *actor.diverged([(40, 2)]))
        actor = stage.actors[0]
        assert actor.epoch == 2
        stage.turn(*actor.begins(), *actor.trains())  # through the epoch in which it diverged, with a lower loss
        assert stage.journal.models[1].rollback is None
        stage.turn(*actor.saves(), *actor.diverged([(60, 3), (40, 2)]))
        rollback = stage.journal.models[1].rollback
        assert rollback is not None
        assert (rollback.step, rollback.diverged_epoch, stage.journal.models[1].learning_rate_factor) == (60, 4, 0.25)
        stage.turn(*stage.actors[0].begins(), *stage.actors[0].saves(), *stage.actors[0].diverged([(60, 3), (40, 2)]))
        assert stage.actors[0].worker.jobs[0].rollback.step == 40  # further: that costs no retry
        stage.turn(*stage.actors[0].begins(), *stage.actors[0].diverged([]))
        assert stage.actors[0].worker.jobs[0].rollback.step == 0
        stage.turn(*stage.actors[0].begins(), *stage.actors[0].diverged([]))
        assert stage.state is RunState.FAILED


def test_a_diverged_model_that_is_tried_again_goes_back_further(tmp_path: Path) -> None:
    with Stage(tmp_path, models=2, requested=2, training={"on_divergence": "lower"}, run={"max_retries": 0}) as stage:
        actor = stage.actor(1)
        stage.turn(
            *actor.begins(), *actor.trains(), *actor.trains(), *actor.saves(), *actor.diverged([(40, 2), (20, 1)])
        )
        assert stage.phase(1) is M.FAILED
        stage.command("retry", model="planner_1")
        stage.turn()
        job = stage.actor(1).worker.jobs[0]
        assert (job.rollback.step, job.learning_rate_factor, job.epochs_recorded) == (40, 0.5, 2)
