"""`data.drop_last`: an epoch without its short last batch, for models alone and in groups, counted right everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from forge_tui.errors import SettingsError
from forge_tui.protocol.job import Control, Job
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig, to_plain
from forge_tui.training.data import load_dataset
from forge_tui.training.group_state import GroupState
from forge_tui.training.order import Batches, epoch_order
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import SingleState, TrainingState
from forge_tui.training.trainer import Trainer

CPU = torch.device("cpu")


def settings(batch_size: int = 16, **training: object) -> Settings:
    """81 training samples."""
    data = DataSettings(samples=90, features=6, classes=3, drop_last=True)
    config = TrainingConfig(model_size=1_000, batch_size=batch_size, epochs=3, **training)  # type: ignore[arg-type]
    return Settings(training=config, data=data)


def test_the_batches_are_the_first_of_the_order_of_all_samples() -> None:
    samples = torch.arange(10)
    batches = Batches(samples, samples, 4, samples=8)
    assert batches.steps == 2
    order = epoch_order(10, 5, 1)
    dealt = [inputs.tolist() for inputs, _ in batches.epoch(5, 1)]
    assert dealt == [order[:4].tolist(), order[4:8].tolist()]
    together = [inputs.tolist() for inputs, _ in batches.epochs([5, 6], 1, skip=1)]
    assert together == [[order[4:8].tolist(), epoch_order(10, 6, 1)[4:8].tolist()]]


@pytest.mark.parametrize("gathered", [True, False], ids=["at once", "batch by batch"])
def test_a_resume_in_an_epoch_skips_as_many(gathered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not gathered:
        monkeypatch.setattr("forge_tui.training.order._GATHER_BYTES", 0)
    samples = torch.arange(11)
    batches = Batches(samples, samples, 3, samples=9)
    whole = [inputs.tolist() for inputs, _ in batches.epoch(1, 2)]
    assert [len(one) for one in whole] == [3, 3, 3]
    assert [inputs.tolist() for inputs, _ in batches.epoch(1, 2, skip=2)] == whole[2:]
    assert [inputs[0].tolist() for inputs, _ in batches.epochs([1], 2)] == whole


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_group_trains_on_the_same_batches_as_each_alone(tmp_path: Path, accumulate: int) -> None:
    chosen = settings(accumulate=accumulate)
    dataset = load_dataset(chosen, tmp_path)
    group = GroupState(chosen.training, dataset, [3, 4], CPU)
    singles = [SingleState(chosen.training, dataset, seed, CPU) for seed in (3, 4)]

    def train(state: TrainingState, seeds: list[int]) -> list[float]:
        data = PlacedData(dataset, state.network, 16, CPU)
        sizes = []
        for inputs, targets in state.batches(data, seeds):
            sizes.append(targets.shape[-1])
            state.loss(data, inputs, targets).backward()
            state.update()
        assert sizes == [16] * 5
        assert not any(parameter.grad is not None for parameter in state.parameters)
        found: list[float] = state.loss_sum.reshape(-1).tolist()
        return found

    together = train(group, [3, 4])
    alone = [train(state, [seed])[0] for state, seed in zip(singles, (3, 4), strict=True)]
    assert together == pytest.approx(alone, rel=1e-4)


def test_a_trained_model_counts_whole_batches_and_says_so_in_its_settings(tmp_path: Path) -> None:
    chosen = settings(schedule="linear")
    (tmp_path / "run").mkdir()
    job = Job(
        run="run", directory=str(tmp_path / "run"), working_directory=str(tmp_path), model="cognate_planner_1", index=1,
        attempt=1, seed=0, settings=to_plain(chosen), threads=1, device="cpu",
    )  # fmt: skip
    Trainer([job], lambda event: None, Control()).run()
    record = json.loads((tmp_path / "run" / "cognate_planner_1.json").read_bytes())
    assert [epoch["step"] for epoch in record["history"]] == [5, 10, 15]
    assert record["history"][-1]["learning_rate"] == pytest.approx(0.001 / 15)  # down to 0 after the last step
    assert record["settings"]["data"]["drop_last"] is True
    assert record["history"][0]["loss"] < 10 * record["history"][0]["validation_loss"]  # a mean over 80, not 81 or 90


@pytest.mark.parametrize("make", [SingleState, lambda *a: GroupState(a[0], a[1], [a[2], 1], a[3])], ids=["one", "two"])
def test_fewer_samples_than_a_batch_are_refused_in_words(tmp_path: Path, make: object) -> None:
    chosen = settings(batch_size=82)
    dataset = load_dataset(chosen, tmp_path)
    with pytest.raises(SettingsError, match=r"81 training samples are fewer than a batch of 82; use a --batch-size"):
        make(chosen.training, dataset, 0, CPU)  # type: ignore[operator]
    assert dataset.epoch_samples(81) == 81
    assert dataset.epoch_samples(80) == 80
