"""The curves of a run, chosen and thinned out for pictures."""

from __future__ import annotations

from typing import Any

import pytest
from run_directories import RunMaker, loss_at

from forge_tui import client
from forge_tui.analysis.ranking import ranked_models
from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.reports import curve_sets
from forge_tui.reports.curve_sets import CurveSet, curve_set, spread_choice


class Chosen(RunMaker):
    """Every model's loss in epoch e is its index + e; that of epoch 3 of model 2 is no number."""

    @staticmethod
    def history(model: ModelState, epochs: int) -> list[EpochFinished]:
        def loss(epoch: int) -> float:
            return float("nan") if (model.index, epoch) == (2, 3) else float(model.index + epoch)

        return [
            EpochFinished(
                time=1_000.0 + epoch, model=model.name, index=model.index, attempt=1, epoch=epoch, epochs=model.epochs,
                step=epoch, best_loss=1.0, metrics={"loss": loss(epoch), "validation_auc": None},
            )
            for epoch in range(1, epochs + 1)
        ]  # fmt: skip


@pytest.fixture
def chosen(tmp_path: Any) -> Any:
    made = Chosen(tmp_path / "runs", now=100_000.0)
    yield made
    made.close()


def curves_of(maker: RunMaker, models: list[ModelState]) -> CurveSet:
    with client.attach(maker.make("one", RunState.COMPLETED, models)) as run:
        return curve_set(run, run.snapshot())


def test_a_config_is_the_mean_of_its_models_with_a_deviation_and_a_gap(chosen: RunMaker) -> None:
    found = curves_of(chosen, [chosen.model(index, epoch=4) for index in (1, 2, 3)])
    (config,) = found.configs
    curve = config.curves["loss"]
    assert (config.label, config.models) == ("3 models", 3)
    assert curve.epochs == (1, 2, 3, 4)
    assert curve.low == curve.high == (3.0, 4.0, None, 6.0)
    assert curve.lower == (2.0, 3.0, None, 5.0)
    assert curve.upper == (4.0, 5.0, None, 7.0)
    assert {one.label: one.curves["loss"].low for one in found.models}["cognate_planner_2"] == (3.0, 4.0, None, 6.0)
    assert found.notes == ()


def test_a_metric_that_never_has_a_number_has_no_curve(chosen: RunMaker) -> None:
    found = curves_of(chosen, [chosen.model(1, epoch=2)])
    assert [metric.name for metric in found.metrics] == ["loss"]
    assert found.configs == ()
    assert list(found.series[0].curves) == ["loss"]


def test_long_curves_keep_the_extremes_of_what_a_point_stands_for(
    chosen: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve_sets, "MOST_POINTS", 4)
    monkeypatch.setattr(curve_sets, "FEWEST_POINTS", 1)
    found = curves_of(chosen, [chosen.model(1, epoch=12)])
    curve = found.models[0].curves["loss"]
    assert curve.epochs == (3, 6, 9, 12)
    assert (curve.low, curve.high) == ((2.0, 5.0, 8.0, 11.0), (4.0, 7.0, 10.0, 13.0))
    assert found.notes == (
        "Curves of more than 4 epochs are drawn with 4 points, each with the smallest and the largest value of its "
        "epochs.",
    )


def test_configs_stand_in_the_order_of_their_ranks(maker: RunMaker) -> None:
    rates = {1: 0.1, 2: 0.01, 3: 0.1, 4: 0.01}
    models = [
        maker.model(index, validation_accuracy=0.5 + rate, combination={"learning_rate": rate})
        for index, rate in rates.items()
    ]
    found = curves_of(maker, models)
    assert [(one.rank, one.label, one.models) for one in found.configs] == [
        (1, "learning_rate 0.1", 2), (2, "learning_rate 0.01", 2),
    ]  # fmt: skip
    assert found.series == found.configs
    assert found.models[0].label == "learning_rate 0.1 · cognate_planner_1"


def test_configs_of_one_model_are_shown_as_models(maker: RunMaker) -> None:
    models = [maker.model(index, combination={"batch_size": 8 * index}) for index in (1, 2)]
    found = curves_of(maker, models)
    assert found.configs == ()
    assert [one.label for one in found.series] == [
        "batch_size 8 · cognate_planner_1", "batch_size 16 · cognate_planner_2",
    ]  # fmt: skip


def test_of_many_the_best_and_some_of_the_rest_are_drawn_and_said(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve_sets, "MOST_MODELS", 4)
    models = [maker.model(index, epoch=2, validation_accuracy=1.0 - index / 100) for index in range(1, 12)]
    found = curves_of(maker, models)
    assert [one.rank for one in found.models] == [1, 2, 3, 11]
    assert found.configs[0].models == 11
    note = "Of 11 models the best 3 and 1 others, evenly spread over the later ranks, are drawn."
    assert found.notes == (note,)


def test_many_metrics_leave_room_for_fewer_curves(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve_sets, "_FEWEST_CURVES", 2)
    monkeypatch.setattr(curve_sets, "MOST_MODELS", 20)
    models = [maker.model(index, epoch=2) for index in range(1, 21)]
    with client.attach(maker.make("one", RunState.COMPLETED, models)) as run:
        snapshot = run.snapshot()
        assert len(curve_set(run, snapshot).models) == 20
        monkeypatch.setattr(curve_sets, "_MOST_NUMBERS", 15_000)  # half of 30 points × 200 numbers × five metrics
        found = curve_set(run, snapshot)
    assert len(found.models) == 10
    assert "Of 20 models the best 8 and 2 others, evenly spread over the later ranks, are drawn." in found.notes


@pytest.mark.parametrize(
    ("count", "most", "expected"), [(3, 4, [0, 1, 2]), (8, 4, [0, 1, 2, 7]), (20, 8, [0, 1, 2, 3, 4, 5, 12, 19])]
)
def test_the_choice_among_many(count: int, most: int, expected: list[int]) -> None:
    assert spread_choice(count, most) == expected


def test_models_without_a_value_have_no_rank_and_come_last(maker: RunMaker) -> None:
    models = [maker.model(1, TrainingPhase.QUEUED), maker.model(2, loss=loss_at(9)), maker.model(3)]
    with client.attach(maker.make("one", RunState.STOPPED, models)) as run:
        ranked = ranked_models(run.snapshot())
    assert [(model.index, rank) for model, rank in ranked] == [(3, 1), (2, 2), (1, None)]


def test_a_run_without_epochs_has_no_curves(maker: RunMaker) -> None:
    found = curves_of(maker, [maker.model(1, TrainingPhase.QUEUED)])
    assert (found.metrics, found.series, found.notes) == ((), (), ())
