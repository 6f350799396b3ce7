"""A defect of the runner itself becomes a recorded end that can be resumed."""

from __future__ import annotations

from pathlib import Path

from stage import M, Stage

from forge_tui.protocol.phases import RunState
from forge_tui.resources.policy import OtherRuns
from forge_tui.runner import supervise
from forge_tui.runner.opened import Opened
from forge_tui.runner.prepare import Plan, allowed_workers


class Supervised(Stage):
    """A run that is carried through as the runner does it."""

    def carry_out(self) -> RunState:
        resources = self.machine.latest.resources
        plan = Plan(
            limit=allowed_workers(self.settings, resources, OtherRuns()), resources=resources, threads=1,
            fuse=1, reasons=(), job=self.base_job, memory_estimate=1,
        )  # fmt: skip
        opened = Opened(self.directory, self.settings, plan, self.store, self.journal)
        opened.attach(self.engine, self.selector)
        return supervise._run(self.scheduler, opened)


def broken() -> None:
    raise ZeroDivisionError("a defect")


def test_a_defect_ends_the_run_in_words_with_every_model_queued_and_every_command_answered(tmp_path: Path) -> None:
    with Supervised(tmp_path) as stage:
        stage.turn(*stage.actor(1).begins())
        pause = stage.command("pause")
        stage.turn()
        stage.turn(broken)
        assert stage.state is RunState.FAILED
        assert [stage.phase(index) for index in (1, 2, 3)] == [M.QUEUED] * 3
        assert stage.answers(pause) == [("accepted", None), ("failed", "the run is failed")]
        states = [(event["state"], event["reason"]) for event in stage.events("run_state_changed")]
        told = "the runner failed (ZeroDivisionError: a defect); logs/runner.log tells where"
        assert states[-1] == ("stopping", told)
        assert stage.events()[-1]["event"] == "run_finished"
        assert stage.journal.info.state is RunState.FAILED
