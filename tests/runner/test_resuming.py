"""What a continued run takes over from the part before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from run_directories import RunMaker

from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.metrics import MetricTable
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runner.resuming import epochs_of_search, reached_rungs, seconds_so_far
from forge_tui.runs.reader import RunReader
from forge_tui.settings.schema import Settings, from_plain


def test_rungs_are_remembered_in_the_order_in_which_models_came_whatever_the_clock_said(maker: RunMaker) -> None:
    came = [(2, 7_300.0), (1, 3_700.0), (3, 3_710.0)]  # the clock was set back by an hour after the first
    events = [
        EpochFinished(
            time=time, model=f"cognate_planner_{index}", index=index, attempt=1, epoch=1, epochs=9, step=1,
            metrics={"loss": 0.1 * index}, best_loss=0.1,
        )
        for index, time in came
    ]  # fmt: skip
    models = [maker.model(index, TrainingPhase.TRAINING, epoch=1) for index in (1, 2, 3)]
    path = maker.make(models=models, events=events, histories={1: 0, 2: 0, 3: 0})
    with RunReader(path) as reader:
        assert [one.index for one in reached_rungs(reader, {1}, models, MetricTable())] == [2, 1, 3]


def test_a_rung_whose_epoch_was_left_out_is_remembered(maker: RunMaker) -> None:
    events = [
        EpochFinished(
            time=5.0 + epoch, model="cognate_planner_1", index=1, attempt=1, epoch=epoch, epochs=9, step=epoch,
            metrics={"loss": 1 / epoch}, best_loss=0.1,
        )
        for epoch in (1, 3, 5, 6)
    ]  # fmt: skip
    models = [maker.model(1, TrainingPhase.TRAINING, epoch=6)]
    path = maker.make(models=models, events=events, histories={1: 0})
    with RunReader(path) as reader:
        reached = reached_rungs(reader, (2, 4), models, MetricTable())
    assert [(one.epoch, one.loss, one.continued) for one in reached] == [(2, 1 / 3, True), (4, 1 / 5, True)]


def test_a_resumed_run_goes_on_measuring_where_it_stopped(maker: RunMaker) -> None:
    with RunReader(maker.make(state=RunState.DIED)) as reader:
        info, heartbeat = reader.info(), reader.heartbeat()
    assert seconds_so_far(info, heartbeat) == pytest.approx(300.0)  # not measured: by the wall clock
    assert seconds_so_far(info, replace(heartbeat, seconds=27.0)) == 27.0
    ended = replace(info, state=RunState.STOPPED, finished=heartbeat.written + 3_600.0, seconds=28.0)
    assert seconds_so_far(ended, heartbeat) == 28.0


def test_a_search_reads_the_epochs_of_models_that_may_go_on(maker: RunMaker) -> None:
    events = [
        EpochFinished(
            time=5.0 + epoch, model=f"cognate_planner_{index}", index=index, attempt=1, epoch=epoch, epochs=9,
            step=epoch, metrics={"loss": 1 / (index + epoch)}, best_loss=0.1,
        )
        for index in (1, 2, 3)
        for epoch in (1, 2)
    ]  # fmt: skip
    models = [
        maker.model(1, TrainingPhase.COMPLETED, epoch=9, value=0.25),
        maker.model(2, TrainingPhase.CANCELLED, epoch=2, pruned=True, value=0.25),
        maker.model(3, TrainingPhase.TRAINING, epoch=2),
        maker.model(4, TrainingPhase.QUEUED, epoch=0),
    ]
    path = maker.make(models=models, events=events, histories=dict.fromkeys((1, 2, 3, 4), 0))
    search = from_plain({"training": {"epochs": 9}, "search": {"method": "random", "space": {"momentum": "0..0.9"}}})
    with RunReader(path) as reader:
        found = epochs_of_search(reader, search, models, MetricTable())
        assert {index: epochs.best for index, epochs in found.items()} == {2: (2, 1 / 4), 3: (2, 1 / 5)}
        assert epochs_of_search(reader, Settings(), models, MetricTable()) == {}
