"""Passes over a run: what an output is given, and what it is not given again."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from growing_runs import GrowingRun
from measured import snapshot_of
from run_directories import RunMaker

from forge_tui.client import Run
from forge_tui.errors import RunDirectoryError
from forge_tui.exporters import export
from forge_tui.exporters.courses import Mark
from forge_tui.exporters.export import Export
from forge_tui.exporters.target import final_values
from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.runs.reader import NumberedEpochs


class Kept:
    """An output in memory."""

    place = hint = ""

    def __init__(self, *, takes_more: bool = True) -> None:
        self.epochs: dict[str, list[EpochFinished]] = {}
        self.told: list[tuple[str, int | None, list[int]]] = []
        self.described: list[list[str]] = []
        self._takes_more = takes_more

    def marks(self, model: ModelState) -> Collection[Mark]:
        return [Mark.of(epoch) for epoch in self.epochs.get(model.name, [])]

    def can_add(self, model: ModelState) -> bool:
        return self._takes_more or model.name not in self.epochs

    def add(self, model: ModelState, epochs: Sequence[EpochFinished], last: Mark) -> None:
        self.told.append((model.name[-1], None, [epoch.epoch for epoch in epochs]))
        self.epochs.setdefault(model.name, []).extend(epochs)

    def replace(self, model: ModelState, first: int, history: Sequence[EpochFinished], last: Mark) -> None:
        self.told.append((model.name[-1], first, [epoch.epoch for epoch in history]))
        self.epochs[model.name] = list(history)

    def describe(self, snapshot: Snapshot, models: Sequence[ModelState]) -> None:
        self.described.append([model.name[-1] for model in models])

    def close(self) -> None: ...


def figures(epochs: dict[str, list[EpochFinished]]) -> dict[str, list[tuple[int, float | None]]]:
    return {name: [(epoch.epoch, epoch.loss) for epoch in history] for name, history in epochs.items() if history}


def test_passes_give_what_is_new_and_say_which_models_changed(maker: RunMaker) -> None:
    run, kept = GrowingRun(maker), Kept()
    run.train(1, [1, 2])
    with Run(run.path) as attached:
        exporting = Export(attached, kept)
        exporting.update()
        run.train(2, [1])
        run.train(1, [3])
        exporting.update()
        exporting.update()
        assert kept.told == [("1", None, [1, 2]), ("2", None, [1]), ("1", None, [3])]
        assert kept.described == [["1", "2"], ["1", "2"], []]
        assert (exporting.counts.epochs, exporting.counts.replaced) == (4, 0)
    assert figures(kept.epochs) == figures(run.expected())


def test_another_export_continues_where_the_last_one_ended(maker: RunMaker) -> None:
    run, kept = GrowingRun(maker), Kept()
    run.train(1, [1, 2, 3])
    run.train(2, [1])
    for news in ([], [4, 5], []):
        run.train(1, news)
        with Run(run.path) as attached:
            Export(attached, kept).update()
    assert kept.told == [("1", None, [1, 2, 3]), ("2", None, [1]), ("1", None, [4, 5])]


@pytest.mark.parametrize("anew", [False, True], ids=["one process", "a process each"])
def test_a_rollback_replaces_and_an_exact_repetition_does_not(maker: RunMaker, anew: bool) -> None:
    run, kept = GrowingRun(maker, models=1), Kept()
    with Run(run.path) as attached:
        exporting = Export(attached, kept)
        for epochs, shift in (((1, 2, 3, 4), 0.0), ((3, 4, 5), 0.0), ((4, 5), 0.5), ((6,), 0.0)):
            run.train(1, epochs, shift=shift)
            exporting = Export(attached, kept) if anew else exporting
            exporting.update()
        run.end()
        exporting.update()
    assert kept.told == [
        ("1", None, [1, 2, 3, 4]), ("1", None, [5]), ("1", 4, [1, 2, 3, 4, 5]), ("1", None, [6]),
    ]  # fmt: skip
    assert figures(kept.epochs) == figures(run.expected())


def test_what_was_not_done_again_goes_when_the_run_has_ended(maker: RunMaker) -> None:
    run, kept = GrowingRun(maker, models=1), Kept()
    run.train(1, [1, 2, 3, 4])
    with Run(run.path) as attached:
        exporting = Export(attached, kept)
        exporting.update()
        run.train(1, [2])
        exporting.update()
        assert len(kept.epochs["cognate_planner_1"]) == 4
        run.end_model(1, TrainingPhase.CANCELLED)
        exporting.update()
        assert [epoch.epoch for epoch in kept.epochs["cognate_planner_1"]] == [1, 2]
        before = list(kept.told)
        Export(attached, kept).update()
        assert kept.told == before


def test_an_output_of_other_figures_is_written_anew(maker: RunMaker) -> None:
    run, kept = GrowingRun(maker, models=1), Kept()
    run.train(1, [1, 2])
    (history,) = run.expected().values()
    kept.epochs["cognate_planner_1"] = [dataclasses.replace(epoch, time=5.0) for epoch in history]
    with Run(run.path) as attached:
        Export(attached, kept).update()
    assert kept.told == [("1", 0, [1, 2])]


def test_an_output_that_takes_no_more_gets_all_of_it_again(maker: RunMaker) -> None:
    run, kept = GrowingRun(maker, models=1), Kept(takes_more=False)
    run.train(1, [1, 2])
    with Run(run.path) as attached:
        exporting = Export(attached, kept)
        exporting.update()
        run.train(1, [3])
        exporting.update()
    assert kept.told == [("1", None, [1, 2]), ("1", 3, [1, 2, 3])]
    assert exporting.counts.replaced == 0


def test_a_training_function_keeps_epochs_behind_one_that_it_reports_again(maker: RunMaker) -> None:
    run, kept = GrowingRun(maker, models=1, train="loop.py:train"), Kept()
    with Run(run.path) as attached:
        for epochs, shift in (([1, 2, 5], 0.0), ([2], 0.5)):
            run.train(1, epochs, shift=shift)
            Export(attached, kept).update()
        Export(attached, kept).update()
    assert kept.told == [("1", None, [1, 2, 5]), ("1", 2, [1, 2, 5])]
    assert figures(kept.epochs) == figures(run.expected())


def test_epochs_that_come_while_a_history_is_read_are_given_once(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, kept = GrowingRun(maker, models=1), Kept()
    run.train(1, [1, 2, 3])
    with Run(run.path) as attached:
        exporting = Export(attached, kept)
        exporting.update()
        run.train(1, [2], shift=0.5)
        real = attached.epochs_after

        def overtaken(since: int, limit: int, index: int | None = None) -> NumberedEpochs:
            if index is not None:
                run.train(1, [3], shift=0.5)
            return real(since, limit, index)

        with monkeypatch.context() as patch:
            patch.setattr(attached, "epochs_after", overtaken)
            exporting.update()
        exporting.update()
    assert kept.told == [("1", None, [1, 2, 3]), ("1", 2, [1, 2]), ("1", None, [3])]
    assert figures(kept.epochs) == figures(run.expected())


def test_following_ends_with_the_run_and_has_its_last_epoch(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "INTERVAL", 0.01)
    run, kept, states = GrowingRun(maker, models=1), Kept(), []
    with Run(run.path) as attached:
        for snapshot in Export(attached, kept).follow():
            states.append(snapshot.state)
            if len(states) <= 3:
                run.train(1, [len(states)])
            elif len(states) == 4:
                run.train(1, [4])
                run.end()
    assert states[-1] is RunState.COMPLETED
    assert [epoch.epoch for epoch in kept.epochs["cognate_planner_1"]] == [1, 2, 3, 4]
    assert [epoch for _, _, epochs in kept.told for epoch in epochs] == [1, 2, 3, 4]


def test_a_database_that_stays_locked_is_an_error(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    monkeypatch.setattr(export, "_PATIENCE", 0.0)
    with Run(run.path) as attached:
        monkeypatch.setattr(attached, "epochs_after", lambda since, limit, index=None: NumberedEpochs((), since, False))
        with pytest.raises(RunDirectoryError, match=r"run\.db is locked by another program"):
            Export(attached, Kept()).update()


def test_many_pages_are_read(maker: RunMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(export, "_PAGE", 3)
    run, kept = GrowingRun(maker), Kept()
    with Run(run.path) as attached:
        exporting = Export(attached, kept)
        for begin in (1, 8):
            for index in (1, 2):
                run.train(index, range(begin, begin + 7))
            exporting.update()
    assert figures(kept.epochs) == figures(run.expected())


def test_final_values_are_those_of_the_test_split_that_no_epoch_has(maker: RunMaker) -> None:
    model = maker.model(1, metrics={"loss": 0.5, "test/loss": 0.25, "test/f1": 0.75, "test/auc": None})
    assert final_values(snapshot_of([model]), model) == {"test/loss": 0.25, "test/f1": 0.75}
    of_epochs = snapshot_of([model], metrics=({"name": "test/f1"},))
    assert final_values(of_epochs, model) == {"test/loss": 0.25}
    failed = dataclasses.replace(model, phase=TrainingPhase.FAILED)
    assert final_values(snapshot_of([failed]), failed) == {}
