"""The scheduler under anything in any order: commands, signals, workers that live, fail and die, a changing machine."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from stage import Actor, M, Stage, machine_state

from forge_tui.engines.base import EndKind
from forge_tui.protocol.events import from_record
from forge_tui.protocol.model_state import apply
from forge_tui.protocol.phases import RunState
from forge_tui.protocol.run_info import apply_to_run
from forge_tui.protocol.transitions import may_follow_model, may_follow_run
from forge_tui.resources.hardware import SystemResources
from forge_tui.runs.reader import RunReader

PICK = st.integers(0, 99)
ACTS = ("goes on", "goes on", "goes on", "completes", "fails", "dies", "is lost", "leaves")
FAILURES = ("exception", "out_of_memory", "diverged", "exit")
# A run that is left alone comes to its end within so many rounds: every model, some of them tried again.
MOST_ROUNDS = 200


class SchedulerMachine(RuleBasedStateMachine):
    """Every rule is something that can happen; what must hold is looked at after each and at the end."""

    @initialize(models=st.integers(1, 4), requested=st.integers(1, 3), series=st.booleans(), waits=st.booleans(),
                placing=st.lists(st.sampled_from([0, 0, 1, 3]), min_size=1, max_size=3))  # fmt: skip
    def begin(self, models: int, requested: int, series: bool, waits: bool, placing: list[int]) -> None:
        self.base = Path(tempfile.mkdtemp())
        self.waits = waits
        self.commands: dict[str, str] = {}
        self.asked_to_end: list[RunState] = []
        self.stage = Stage(
            self.base,
            models=models,
            requested=requested,
            waits=lambda: "waits for another run" if self.waits else None,
            placing=lambda job: placing[(job.index + job.attempt) % len(placing)],
            training={"training_mode": "series" if series else "parallel", "on_divergence": "lower"},
            run={"hang_seconds": 300.0, "max_retries": 1},
            **self.more(),
        )
        self.stage.__enter__()

    def more(self) -> dict[str, Any]:
        """More for the stage."""
        return {}

    def machine(self, available: float = 60.0, **changes: Any) -> SystemResources:
        """The machine at a look."""
        return machine_state(available, **changes)

    @property
    def lives(self) -> bool:
        return self.stage.state is None

    def pick(self, number: int) -> Actor:
        return self.stage.actors[number % len(self.stage.actors)]

    # What viewers ask for

    @precondition(lambda self: self.lives)
    @rule(name=st.sampled_from(["pause", "continue", "continue", "dance"]), together=st.booleans())
    def is_commanded(self, name: str, together: bool) -> None:
        self.send(name)
        if not together:
            self.stage.turn()

    @precondition(lambda self: self.lives)
    @rule(name=st.sampled_from(["cancel", "retry"]), number=st.integers(1, 5), together=st.booleans())
    def is_commanded_about_a_model(self, name: str, number: int, together: bool) -> None:
        self.send(name, model=f"planner_{number}")
        if not together:
            self.stage.turn()

    @precondition(lambda self: self.lives)
    @rule(workers=st.integers(0, 5))
    def is_asked_for_other_workers(self, workers: int) -> None:
        self.send("workers", workers=workers)
        self.stage.turn()

    @precondition(lambda self: self.lives)
    @rule(name=st.sampled_from(["stop", "kill"]), chance=st.integers(0, 4))
    def is_asked_to_end(self, name: str, chance: int) -> None:
        if chance == 0:
            self.send(name)
            self.stage.turn()

    @precondition(lambda self: self.lives)
    @rule(chance=st.integers(0, 9))
    def is_signalled(self, chance: int) -> None:
        if chance == 0:
            self.stage.turn(lambda: self.stage.scheduler.stop_by_signal(signal.SIGTERM))

    def send(self, name: str, **arguments: object) -> None:
        self.commands[self.stage.command(name, **arguments)] = name

    # What workers do

    @precondition(lambda self: self.lives and self.stage.actors)
    @rule(number=PICK, what=st.sampled_from(ACTS),
          kind=st.sampled_from(FAILURES), status=st.sampled_from([-9, -11, 0, 1]))  # fmt: skip
    def something_happens_to_a_worker(self, number: int, what: str, kind: str, status: int) -> None:
        actor = self.pick(number)
        told = actor.listen()
        if actor.worker.place is None:
            self.stage.turn()
        elif actor.worker.killed:
            self.stage.turn(actor.exits(-signal.SIGKILL))
        elif what == "completes":
            self.stage.turn(*actor.completes())
        elif what == "fails":
            self.stage.turn(*actor.fails(kind, self.words_of(kind)))
        elif what == "dies":
            self.stage.turn(actor.exits(status))
        elif what == "is lost":
            self.stage.turn(actor.dies(EndKind.NODE_LOST))
        elif "stop" in told or what == "leaves":
            self.stage.turn(*actor.stops())
        elif actor.phase is M.QUEUED:
            self.stage.turn(*actor.begins())
        elif actor.phase is M.PAUSED or is_held(told):
            self.hold_or_go_on(actor, told)
        elif actor.epoch < self.stage.epochs - 1:
            self.stage.turn(
                *actor.trains(), *(actor.saves() if actor.epoch % 2 else []), actor.says(memory=2**30, shared=0)
            )

    def words_of(self, kind: str) -> str:
        """What a failure says."""
        return f"{kind} on purpose"

    def hold_or_go_on(self, actor: Actor, told: list[str]) -> None:
        if is_held(told) and actor.phase is M.TRAINING:
            self.stage.turn(*actor.enters(M.PAUSED))
        elif not is_held(told) and actor.phase is M.PAUSED:
            self.stage.turn(*actor.enters(M.TRAINING))

    # What the machine does

    @precondition(lambda self: self.lives)
    @rule(available=st.sampled_from([60.0, 60.0, 9.0, 1.0]), failed=st.booleans(), seconds=st.sampled_from([2.0, 12.0]))
    def the_machine_changes(self, available: float, failed: bool, seconds: float) -> None:
        self.stage.look(self.machine(available, failures=("cpu: broken",) if failed else ()), seconds)

    @precondition(lambda self: self.lives)
    @rule(seconds=st.sampled_from([1.0, 11.0, 400.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.stage.now += seconds
        self.stage.turn()
        if self.lives:  # what is noticed may end it
            self.stage.turn()

    @precondition(lambda self: self.lives and self.waits)
    @rule()
    def its_turn_comes(self) -> None:
        self.waits = False
        self.stage.turn()

    @precondition(lambda self: not self.lives)
    @rule()
    def has_ended(self) -> None:
        """Nothing happens any more."""

    # What holds

    @invariant()
    def the_phases_are_those_of_the_workers(self) -> None:
        if not hasattr(self, "stage"):
            return
        models = self.stage.journal.models
        working = {actor.index for actor in self.stage.actors}
        for index, model in models.items():
            assert not model.phase.is_active or index in working
            assert model.phase not in (M.FAILED, M.CANCELLED) or index not in working
        if self.stage.journal.info.state is RunState.PAUSED and not self.commands_wait():
            assert all(actor.phase is M.PAUSED for actor in self.stage.actors if not actor.is_told_to_go)

    def commands_wait(self) -> bool:
        return any(path.suffix == ".json" for path in self.stage.directory.commands.iterdir())

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        try:
            self.come_to_the_end()
            self.look_back()
        finally:
            self.stage.__exit__()
            shutil.rmtree(self.base)

    def come_to_the_end(self) -> None:
        """Everybody does what it was told, and the machine is well: the run has to end."""
        self.waits = False
        for _ in range(MOST_ROUNDS):
            if not self.lives:
                return
            if self.stage.journal.info.state in (RunState.PAUSED, RunState.RUNNING):
                self.send("continue")
            self.stage.look(self.machine(), 30.0)
            for actor in self.stage.actors:
                if actor not in self.stage.actors or actor.worker.place is None:
                    continue
                if actor.worker.killed:
                    self.stage.turn(actor.exits(-signal.SIGKILL))
                elif actor.is_told_to_go:
                    self.stage.turn(*actor.stops())
                else:
                    self.stage.turn(*actor.completes())
        raise AssertionError(f"the run does not end: {self.stage.journal.models}")

    def look_back(self) -> None:
        stage = self.stage
        events = stage.events()
        kinds = Counter(event["event"] for event in events)
        assert [
            event for event in events if event["event"] == "resource_warning" and event["kind"] == "transition"
        ] == []
        assert kinds["run_finished"] == 1
        assert events[-1]["event"] == "run_finished"
        self.every_command_is_answered(events)
        phases = Counter(model.phase for model in stage.journal.models.values())
        assert set(phases) <= {M.COMPLETED, M.FAILED, M.CANCELLED, M.QUEUED}
        ended = [event["state"] for event in events if event["event"] == "run_state_changed"]
        if phases[M.COMPLETED] == phases.total():
            assert stage.state is RunState.COMPLETED
        elif RunState.STOPPING in ended:
            assert stage.state in (RunState.STOPPED, RunState.KILLED)
        else:
            assert stage.state is RunState.FAILED
            assert phases[M.QUEUED] == 0
        self.the_events_alone_give_the_state(events)

    def every_command_is_answered(self, events: list[dict]) -> None:
        answers: dict[str, list[str]] = {identity: [] for identity in self.commands}
        for event in events:
            if event["event"] == "command":
                answers[event["id"]].append(event["outcome"])
        for identity, outcomes in answers.items():
            allowed = (["refused"], ["accepted", "done"], ["accepted", "failed"])
            assert outcomes in allowed, (self.commands[identity], outcomes)

    def the_events_alone_give_the_state(self, events: list[dict]) -> None:
        models = {model.index: model for model in self.stage.first_models}
        info = self.stage.first_info
        for record in events:
            event = from_record(record)
            if "model" in record:
                if record["event"] == "phase_changed":
                    assert may_follow_model(models[event.index].phase, M(event.phase))
                models[event.index] = apply(models[event.index], event)
                info = apply_to_run(info, event)
            else:
                if record["event"] == "run_state_changed":
                    state = RunState(event.state)
                    assert may_follow_run(info.state, state) or info.state is state is RunState.QUEUED
                info = apply_to_run(info, event)
        with RunReader(self.stage.directory.database) as reader:
            assert reader.models(0)[0] == list(models.values())
            assert reader.info() == info == self.stage.journal.info


def is_held(told: list[str]) -> bool:
    """Whether a worker that heard these commands is to hold."""
    return [name for name in told if name in ("pause", "continue")][-1:] == ["pause"]
