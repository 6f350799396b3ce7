"""A group of models against each of them alone: the same arithmetic, files, records and resume."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from depth import deep
from torch import nn
from trained import KillAt, Killed, bytes_of, dataset_of, jobs_of, record_of, run

from forge_tui.protocol.events import CheckpointSaved, EpochFinished, ModelCompleted, ModelStarted
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training.failures import Diverged
from forge_tui.training.group_state import GroupState
from forge_tui.training.models.stack import Stack
from forge_tui.training.own_code import load_own_code
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import SingleState, TrainingState

CPU = torch.device("cpu")
SEEDS = (0, 7, 3)
STEPS = 200
TEXT = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs. " * 20

ALL_OPTIONS: dict[str, Any] = {
    "schedule": "cosine", "warmup_steps": 10, "gradient_clip": 0.3, "accumulate": 3, "label_smoothing": 0.1,
    "weights_average": 0.9, "grokfast_enabled": True,
}  # fmt: skip
FEATURES: dict[str, dict[str, Any]] = {
    "planner": {},
    "reasoner": {"model_type": "reasoner"},
    "memory": {"model_type": "memory"},
    "weight decay": {"weight_decay": 0.01},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "sgd with momentum": {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01},
    "muon": {"optimizer": "muon", "weight_decay": 0.1},
    "muon with tokens": {"optimizer": "muon", "model_type": "reasoner", "learning_rate": 0.01},
    "grokfast ema": {"grokfast_enabled": True},
    "grokfast ma": {"grokfast_enabled": True, "grokfast_filter": "ma", "grokfast_window": 5},
    "cosine with a warm-up": {"schedule": "cosine", "warmup_steps": 30},
    "linear": {"schedule": "linear"},
    "one cycle": {"schedule": "one_cycle"},
    "clipped": {"gradient_clip": 0.3, "grokfast_enabled": True},
    "accumulated": {"accumulate": 3},
    "smoothed labels": {"label_smoothing": 0.1},
    "averaged weights": {"weights_average": 0.95},
    "all options": ALL_OPTIONS,
}


def train(state: TrainingState, data: PlacedData, seeds: tuple[int, ...], steps: int) -> list[list[float]]:
    """The losses of each model at every step."""
    losses = []
    while state.step < steps:
        for inputs, targets in state.batches(data, seeds):
            before = state.loss_sum.clone()
            state.loss(data, inputs, targets).backward()
            state.update()
            losses.append((state.loss_sum - before).reshape(-1).tolist())
            if state.step == steps:
                break
        else:
            state.epoch, state.step_in_epoch = state.epoch + 1, 0
            state.loss_sum.zero_()
    return losses


def compare(settings: Settings, where: Path, rates: tuple[float, ...] | None = None) -> None:
    own_code = load_own_code(settings)
    dataset = dataset_of(settings, where, own_code.dataset)
    group = GroupState(settings.training, dataset, SEEDS, CPU, own_code)
    for number, rate in enumerate(rates or ()):
        group.set_learning_rate(number, rate)
    data = PlacedData(dataset, group.network, settings.training.batch_size, CPU)
    together = train(group, data, SEEDS, STEPS)
    measured = group.validate(data)
    for number, seed in enumerate(SEEDS):
        single = SingleState(settings.training, dataset, seed, CPU, own_code)
        if rates is not None:
            single.set_learning_rate(0, rates[number])
        alone = train(single, data, (seed,), STEPS)
        assert [losses[number] for losses in together] == pytest.approx([loss for (loss,) in alone], rel=1e-9)
        for name, weight in single.weights(0).items():
            assert (group.weights(number)[name] - weight).abs().max() <= 1e-9 * weight.abs().max(), name
        for name, weight in single.final_weights(0).items():
            assert (group.final_weights(number)[name] - weight).abs().max() <= 1e-9 * weight.abs().max(), name
        (own,) = single.validate(data)
        assert measured[number] == pytest.approx(own, rel=1e-9)
        for exact in ("validation_metric", "validation_accuracy"):
            assert measured[number].get(exact) == own.get(exact)
        assert single.tensors(0).keys() == group.tensors(number).keys()
        for name, tensor in single.tensors(0).items():
            assert group.tensors(number)[name].shape == tensor.shape, name


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("training", FEATURES.values(), ids=FEATURES.keys())
def test_in_float64_two_hundred_steps_agree_to_1e_9(training: dict[str, Any], tmp_path: Path) -> None:
    settings = Settings(
        training=TrainingConfig(**{"model_size": 2_000, **training}),
        data=DataSettings(samples=110, features=12, classes=4),
    )
    compare(settings, tmp_path)


OWN = """
import torch
from torch import nn
from torch.nn import functional


def model(inputs, channels=3):
    # No bias where a normalisation takes it away again: Adam makes its rounding errors as large as its steps.
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(4 * channels, inputs.outputs),
    )


def dataset(seed):
    images = torch.randn(110, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return images, (images.sum(dim=(1, 2, 3)) > 0).long()


def loss(outputs, targets, focus=2.0):
    each = functional.cross_entropy(outputs, targets, reduction="none")
    return ((1 - torch.exp(-each)) ** focus * each).mean()


def metric(outputs, targets):
    return (outputs.argmax(dim=-1) != targets).double().mean()
"""


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("training", [{}, ALL_OPTIONS | {"label_smoothing": 0.0}], ids=["plain", "all options"])
def test_code_of_the_users_own_in_float64(training: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "own_of_group.py"
    path.write_text(OWN, encoding="utf-8")
    names = {name: str(path) for name in ("model_type", "dataset", "loss", "metric")}
    settings = Settings(training=TrainingConfig(**names, **training), model={"channels": 2, "focus": 1.5})
    compare(settings, tmp_path)


@pytest.mark.usefixtures("float64")
def test_the_decoder_of_the_grokking_task_in_float64(tmp_path: Path) -> None:
    decoder = "forge_tui.training.models.decoder:decoder"
    # Without weight decay: Adam makes rounding errors of biases without a gradient as large as its smallest steps.
    training = TrainingConfig(model_type=decoder, dataset="modular", batch_size=30, betas=(0.9, 0.98))
    settings = Settings(training=training, data=DataSettings(prime=11), model={"width": 8, "heads": 2})
    compare(settings, tmp_path)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("classes", [3, 20])
@pytest.mark.parametrize("training", [{}, {"label_smoothing": 0.1}, ALL_OPTIONS], ids=["", "smoothed", "all options"])
def test_weighted_classes_agree_too(training: dict[str, Any], classes: int, tmp_path: Path) -> None:
    settings = Settings(
        training=TrainingConfig(**{"model_size": 2_000, **training}),
        data=DataSettings(samples=130, features=12, classes=classes, class_weights="balanced"),
    )
    assert len(dataset_of(settings, tmp_path).class_weights.unique()) > 1  # else it would show nothing
    compare(settings, tmp_path)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("label_smoothing", [deep(0.0), 0.1])
@pytest.mark.parametrize("model_type", ["planner", "reasoner", deep("memory")])
def test_tokens_agree_too(model_type: Any, label_smoothing: float, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    training = TrainingConfig(
        model_type=model_type, model_size=4_000, dataset="text.txt", batch_size=4, label_smoothing=label_smoothing
    )
    compare(Settings(training=training), tmp_path)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("model_type", ["planner", "reasoner", "memory"])
def test_sequences_of_one_class_agree_too(model_type: Any, tmp_path: Path) -> None:
    training = TrainingConfig(model_type=model_type, model_size=4_000, dataset="modular", batch_size=16)
    compare(Settings(training=training, data=DataSettings(prime=11)), tmp_path)


@pytest.mark.usefixtures("float64")
def test_a_regression_and_rates_of_their_own(tmp_path: Path) -> None:
    rows = [f"{x / 10},{x % 7},{2 * x - x % 7 + 0.5}" for x in range(90)]
    (tmp_path / "data.csv").write_text("\n".join(["a,b,target", *rows]) + "\n", encoding="utf-8")
    training = TrainingConfig(model_size=1_500, dataset="data.csv", weight_decay=0.01)
    compare(Settings(training=training), tmp_path, rates=(0.001, 0.003, 0.0002))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("options", [{}, {"optimizer": "adamw"}, {"optimizer": "sgd", "momentum": 0.9}])
def test_configs_that_differ_in_rate_and_decay_train_as_each_alone(options: dict[str, Any], make_job: Any) -> None:
    """Through the trainer, as the models of a sweep do."""
    own = [(0.001, 0.0), (0.01, 0.1), (0.003, 0.01)]

    def jobs(where: str) -> list[Job]:
        found = []
        for index, (rate, decay) in enumerate(own, 1):
            training = {**options, "epochs": 8, "learning_rate": rate, "weight_decay": decay}
            found.append(make_job(where, training, model=f"cognate_planner_{index}", index=index, seed=index))
        return found

    together, alone = jobs("together"), jobs("alone")
    _, events = run(together)
    started = [event for event in events if isinstance(event, ModelStarted)]
    assert [(event.config["learning_rate"], event.config["weight_decay"]) for event in started] == own
    for job, one in zip(together, alone, strict=True):
        run([one])
        found, expected = record_of(job), record_of(one)
        assert [epoch["loss"] for epoch in found["history"]] == pytest.approx(
            [epoch["loss"] for epoch in expected["history"]], rel=1e-9
        )
        assert found["config"] == expected["config"]
        assert found["settings"] == expected["settings"]
        assert [epoch["learning_rate"] for epoch in found["history"]] == [own[job.index - 1][0]] * 8


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("training", [{"grokfast_enabled": True}, ALL_OPTIONS], ids=["grokfast", "all options"])
def test_a_model_leaves_its_group_without_harm(training: dict[str, Any], tmp_path: Path) -> None:
    """In the middle of an epoch, and of an accumulation."""
    settings = Settings(
        training=TrainingConfig(**{"model_size": 2_000, **training}),
        data=DataSettings(samples=110, features=12, classes=4),
    )
    dataset = dataset_of(settings, tmp_path)
    group = GroupState(settings.training, dataset, SEEDS, CPU)
    data = PlacedData(dataset, group.network, settings.training.batch_size, CPU)
    train(group, data, SEEDS, 30)
    group.remove(1)
    left = (SEEDS[0], SEEDS[2])
    train(group, data, left, STEPS)
    for number, seed in enumerate(left):
        single = SingleState(settings.training, dataset, seed, CPU)
        train(single, data, (seed,), STEPS)
        for name, tensor in single.tensors(0).items():
            if name.startswith(("weights/", "optimizer/", "filter/", "average/")):
                own = group.tensors(number)[name]
                torch.testing.assert_close(own, tensor, rtol=1e-9, atol=1e-9 * float(tensor.abs().max()), msg=name)


def test_any_other_module_is_stacked_by_torch_func() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv1d(1, 3, 5)
            self.last = nn.Linear(24, 2)
            self.register_buffer("shift", torch.randn(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.first(x.unsqueeze(-2))).flatten(-2)) + self.shift

    bodies = [Odd() for _ in range(3)]
    stack = Stack(bodies)
    assert not stack.is_native
    inputs = torch.randn(3, 6, 12)
    out = stack.body(inputs)
    for number, body in enumerate(bodies):
        torch.testing.assert_close(out[number], body(inputs[number]))
        own = {**dict(body.named_parameters()), **dict(body.named_buffers())}
        assert all(torch.equal(stack.weights(number)[name], tensor) for name, tensor in own.items())
    out.square().sum().backward()
    bodies[1](inputs[1]).square().sum().backward()
    torch.testing.assert_close(stack.parameters[0].grad[1], bodies[1].first.weight.grad)  # type: ignore[index]


# --- the trainer


def test_a_group_leaves_the_records_and_files_of_its_models(make_job: Any) -> None:
    jobs = jobs_of(make_job, "group", training={"epochs": 5, "checkpoint_interval": 2})
    outcome, events = run(jobs)
    assert outcome is Outcome.COMPLETED
    names = [job.model for job in jobs]
    for job in jobs:
        own = [event for event in events if getattr(event, "model", None) == job.model]
        started = next(event for event in own if isinstance(event, ModelStarted))
        assert (started.group, started.seed) == (names, job.seed)
        assert [event.epoch for event in own if isinstance(event, EpochFinished)] == [1, 2, 3, 4, 5]
        assert [event.step for event in own if isinstance(event, CheckpointSaved)] == [8, 16, 20]
        assert sum(isinstance(event, ModelCompleted) for event in own) == 1
        record = record_of(job)
        assert (record["group"], record["exact"], record["epochs_completed"]) == (names, True, 5)
    alone = jobs_of(make_job, "alone", training={"epochs": 5, "checkpoint_interval": 2})
    for job, one in zip(jobs, alone, strict=True):
        run([one])
        expected = [epoch["loss"] for epoch in record_of(one)["history"]]
        assert [epoch["loss"] for epoch in record_of(job)["history"]] == pytest.approx(expected, rel=1e-4)


def test_a_killed_group_goes_on_to_the_same_bytes(make_job: Any) -> None:
    settings = {"training": {"epochs": 6, "checkpoint_interval": 2, "grokfast_enabled": True}}
    whole, broken = jobs_of(make_job, "whole", **settings), jobs_of(make_job, "broken", **settings)
    run(whole)
    with pytest.raises(Killed):
        run(broken, KillAt(18))
    # One member's newest checkpoint is damaged: the group goes on from the step that verifies for all.
    newest, _ = checkpoints.paths(Path(broken[1].directory) / "checkpoints" / broken[1].model)
    newest.write_bytes(newest.read_bytes()[:-7])
    outcome, events = run(broken)
    assert outcome is Outcome.COMPLETED
    assert [event.epoch for event in events if isinstance(event, EpochFinished) and event.index == 1] == [3, 4, 5, 6]
    assert bytes_of(broken) == bytes_of(whole)


def test_a_group_stopped_within_an_accumulation_goes_on_to_the_same_bytes(make_job: Any, stop_after: Any) -> None:
    settings = {"training": {**ALL_OPTIONS, "epochs": 4}}
    whole, broken = jobs_of(make_job, "whole", **settings), jobs_of(make_job, "broken", **settings)
    run(whole)
    assert run(broken, stop_after(6))[0] is Outcome.STOPPED
    stopped = checkpoints.newest_valid(Path(broken[1].directory) / "checkpoints" / broken[1].model)
    assert stopped is not None
    assert stopped.step == 6
    assert set(stopped.part("gradients")) == set(stopped.part("average"))
    assert run(broken)[0] is Outcome.COMPLETED
    assert bytes_of(broken) == bytes_of(whole)


def test_a_model_that_is_let_go_has_a_checkpoint_and_can_be_trained_alone(make_job: Any) -> None:
    jobs = jobs_of(make_job, "group", training={"epochs": 4})
    control, left = Control(), []
    control.request_leave(2)
    outcome, events = run(jobs, control, lambda job, why: left.append((job.index, why)))
    assert outcome is Outcome.COMPLETED
    assert left == [(2, None)]
    assert [event.epoch for event in events if isinstance(event, EpochFinished) and event.index == 2] == [1]
    assert sorted(event.index for event in events if isinstance(event, ModelCompleted)) == [1, 3]
    outcome, events = run([jobs[1]])
    assert outcome is Outcome.COMPLETED
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [2, 3, 4]
    assert record_of(jobs[1])["exact"] is False


def test_a_model_that_diverges_leaves_and_the_others_end_as_if_alone(make_job: Any) -> None:
    jobs = jobs_of(make_job, "group", training={"epochs": 4, "optimizer": "sgd", "learning_rate": 0.01})
    jobs[0] = dataclasses.replace(jobs[0], learning_rate_factor=1e30)
    left: list[tuple[int, Diverged | None]] = []
    outcome, _ = run(jobs, None, lambda job, why: left.append((job.index, why)))
    assert outcome is Outcome.COMPLETED
    ((index, why),) = left
    assert index == 1
    assert "diverged" in str(why)
    alone = jobs_of(make_job, "alone", training={"epochs": 4, "optimizer": "sgd", "learning_rate": 0.01})
    for job, one in zip(jobs[1:], alone[1:], strict=True):
        run([one])
        assert record_of(job)["loss"] == pytest.approx(record_of(one)["loss"], rel=1e-4)
