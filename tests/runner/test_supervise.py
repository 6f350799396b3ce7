"""A defect of the runner itself becomes a recorded end that can be resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from run_directories import RunMaker
from stage import M, Stage

from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.metrics import MetricTable
from forge_tui.protocol.phases import RunState
from forge_tui.resources.policy import OtherRuns
from forge_tui.runner import supervise
from forge_tui.runner.prepare import Plan, allowed_workers
from forge_tui.runs.reader import RunReader


class Supervised(Stage):
    """A run that is carried through as the runner does it."""

    def carry_out(self) -> RunState:
        resources = self.machine.latest.resources
        plan = Plan(
            limit=allowed_workers(self.settings, resources, OtherRuns()), resources=resources, threads=1,
            fuse=1, reasons=(), job=self.base_job, memory_estimate=1,
        )  # fmt: skip
        opened = supervise.Opened(self.directory, self.settings, plan, self.store, self.journal)
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


def test_rungs_are_remembered_in_the_order_in_which_models_came_whatever_the_clock_said(maker: RunMaker) -> None:
    came = [(2, 7_300.0), (1, 3_700.0), (3, 3_710.0)]  # the clock was set back by an hour after the first
    events = [
        EpochFinished(
            time=time, model=f"cognate_planner_{index}", index=index, attempt=1, epoch=1, epochs=9, step=1,
            metrics={"loss": 0.1 * index}, best_loss=0.1,
        )
        for index, time in came
    ]  # fmt: skip
    models = [maker.model(index, M.TRAINING, epoch=1) for index in (1, 2, 3)]
    path = maker.make(models=models, events=events, histories={1: 0, 2: 0, 3: 0})
    with RunReader(path) as reader:
        assert [one.index for one in supervise._reached(reader, {1}, models, MetricTable())] == [2, 1, 3]


def test_a_resumed_run_goes_on_measuring_where_it_stopped(maker: RunMaker) -> None:
    with RunReader(maker.make(state=RunState.DIED)) as reader:
        info, heartbeat = reader.info(), reader.heartbeat()
    assert supervise._seconds_so_far(info, heartbeat) == pytest.approx(300.0)  # not measured: by the wall clock
    assert supervise._seconds_so_far(info, replace(heartbeat, seconds=27.0)) == 27.0
    ended = replace(info, state=RunState.STOPPED, finished=heartbeat.written + 3_600.0, seconds=28.0)
    assert supervise._seconds_so_far(ended, heartbeat) == 28.0
