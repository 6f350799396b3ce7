"""Schedules, clipping, accumulation, label smoothing and averaged weights against a loop written in plain torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.job import Job
from forge_tui.settings.schema import from_plain
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training.data import load_dataset
from forge_tui.training.export import load_model
from forge_tui.training.models.network import Network
from forge_tui.training.order import epoch_order
from forge_tui.training.state import new_network

# 99 samples in batches of 16: 7 steps an epoch, the last one of 3 samples.
SAMPLES, BATCH, EPOCHS = 99, 16, 4
TEXT = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs. " * 20


@dataclass(kw_only=True)
class Plain:
    """What the plain loop came to."""

    network: Network
    averaged: nn.Module | None
    rates: list[float]
    losses: list[float]


def plain_torch(
    job: Job,
    *,
    batch: int = BATCH,
    schedule: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler] | None = None,
    most: float | None = None,
    smoothing: float = 0.0,
    decay: float | None = None,
    weights: Tensor | None = None,
) -> Plain:
    """Train by Adam from the job's weights, on its data in its order; `rates` and `losses` are those of the epochs."""
    settings = from_plain(job.settings)
    dataset = load_dataset(settings, Path(job.working_directory))
    network = new_network(settings.training, dataset, job.seed)
    inputs = network.scale_features(dataset.train_inputs)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.training.learning_rate, fused=True)
    scheduler = schedule(optimizer) if schedule else None
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
    rates, losses = [], []
    for epoch in range(1, settings.training.epochs + 1):
        order, total = epoch_order(len(inputs), job.seed, epoch), 0.0
        for start in range(0, len(inputs), batch):
            rows = order[start : start + batch]
            logits, targets = network.body(inputs[rows]), dataset.train_targets[rows]
            loss = cross_entropy(logits.flatten(0, -2), targets.flatten(), weights, label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            if most:
                nn.utils.clip_grad_norm_(network.parameters(), most)
            rate = optimizer.param_groups[0]["lr"]
            optimizer.step()
            if averaged:
                averaged.update_parameters(network)
            if scheduler:
                scheduler.step()
            total += loss.item() * len(rows)
        rates.append(rate)
        losses.append(total / len(inputs))
    return Plain(network=network, averaged=averaged and averaged.module, rates=rates, losses=losses)


def trained(job: Job) -> nn.Module:
    return load_model(Path(job.directory) / job.model)


def assert_same(module: nn.Module, other: nn.Module, rtol: float = 1e-4) -> None:
    for (name, tensor), expected in zip(module.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(tensor, expected.requires_grad_(False), rtol=rtol, atol=1e-6, msg=name)


def epochs(events: list[Any]) -> list[EpochFinished]:
    return [event for event in events if isinstance(event, EpochFinished)]


@pytest.fixture
def job_of(make_job: Any) -> Callable[..., Job]:
    """Jobs of small planners with the options given."""

    def make(directory: str = "run", data: dict[str, Any] | None = None, **training: Any) -> Job:
        values = {"batch_size": BATCH, "epochs": EPOCHS, "learning_rate": 0.01, **training}
        job: Job = make_job(directory, training=values, data=data)
        return job

    return make


def test_the_plain_loop_is_what_is_trained_without_options(job_of: Any, train: Any) -> None:
    """Else the comparisons below would say little."""
    job = job_of()
    _, events = train(job)
    found = plain_torch(job)
    assert_same(trained(job), found.network)
    assert [event.loss for event in epochs(events)] == pytest.approx(found.losses, rel=1e-5)
    assert [event.metrics.get("learning_rate") for event in epochs(events)] == found.rates == [0.01] * EPOCHS


STEPS = EPOCHS * math.ceil(SAMPLES / BATCH)
SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]] = {
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS),
    "linear": lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=STEPS),
    "one_cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=STEPS, cycle_momentum=False),
}


@pytest.mark.parametrize(("schedule", "theirs"), SCHEDULES.items(), ids=SCHEDULES.keys())
def test_a_schedule_trains_as_torchs_scheduler(schedule: str, theirs: Any, job_of: Any, train: Any) -> None:
    job = job_of(schedule=schedule)
    _, events = train(job)
    found = plain_torch(job, schedule=theirs)
    assert_same(trained(job), found.network)
    assert [event.metrics.get("learning_rate") for event in epochs(events)] == pytest.approx(found.rates, rel=1e-9)


def test_a_warm_up_multiplies_a_rate_that_was_lowered(make_job: Any, train: Any) -> None:
    training = {"batch_size": BATCH, "epochs": 2, "warmup_steps": 10, "learning_rate": 0.01}
    job = make_job(training=training, learning_rate_factor=0.5)
    _, events = train(job)
    halved = make_job("halved", training={**training, "learning_rate": 0.005})
    found = plain_torch(
        halved, schedule=lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda done: min(1.0, (done + 1) / 10))
    )
    assert_same(trained(job), found.network)
    assert [event.metrics.get("learning_rate") for event in epochs(events)] == pytest.approx([0.005 * 7 / 10, 0.005])


def test_clipping_trains_as_torchs(job_of: Any, train: Any) -> None:
    job = job_of(gradient_clip=0.2)
    train(job)
    # Adam is blind to the length of gradients that are all scaled alike: that some are and some are not counts.
    assert_same(trained(job), plain_torch(job, most=0.2).network)
    with pytest.raises(AssertionError):
        assert_same(trained(job), plain_torch(job).network)


def test_clipping_comes_after_grokfast(make_job: Any, train: Any) -> None:
    """With SGD and gradients that GrokFast makes three times as long in the first step: what is left has norm 0.001."""
    training = {"batch_size": 128, "epochs": 1, "optimizer": "sgd", "learning_rate": 1.0, "gradient_clip": 0.001}
    job = make_job(training={**training, "grokfast_enabled": True})
    settings = from_plain(job.settings)
    before = new_network(settings.training, load_dataset(settings, Path(job.working_directory)), job.seed)
    train(job)
    moved = [a - b for a, b in zip(trained(job).parameters(), before.parameters(), strict=True)]
    length = math.sqrt(sum(float(change.double().square().sum()) for change in moved))
    assert length == pytest.approx(0.001, rel=1e-2)


@pytest.mark.parametrize("accumulate", [2, 3, 7, 50])
def test_accumulated_batches_train_as_one_batch_of_them_all(accumulate: int, job_of: Any, train: Any) -> None:
    """The last accumulation of an epoch too, which has fewer batches and a short one."""
    job = job_of(accumulate=accumulate)
    _, events = train(job)
    found = plain_torch(job, batch=accumulate * BATCH)
    assert_same(trained(job), found.network)
    assert [event.loss for event in epochs(events)] == pytest.approx(found.losses, rel=1e-4)
    assert [event.step for event in epochs(events)] == [7, 14, 21, 28]


def test_smoothed_labels_train_as_torchs_and_are_not_validated(job_of: Any, train: Any) -> None:
    job = job_of(label_smoothing=0.2)
    _, events = train(job)
    found = plain_torch(job, smoothing=0.2)
    assert_same(trained(job), found.network)
    assert [event.loss for event in epochs(events)] == pytest.approx(found.losses, rel=1e-5)
    dataset = load_dataset(from_plain(job.settings), Path(job.working_directory))
    expected = cross_entropy(found.network(dataset.validation_inputs), dataset.validation_targets).item()
    assert epochs(events)[-1].metrics.get("validation_loss") == pytest.approx(expected, rel=1e-4)


def test_smoothed_tokens_train_as_torchs(make_job: Any, train: Any, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    job = make_job(training={"dataset": "text.txt", "batch_size": 4, "epochs": 1, "label_smoothing": 0.1})
    _, events = train(job)
    found = plain_torch(job, batch=4, smoothing=0.1)
    assert epochs(events)[0].loss == pytest.approx(found.losses[0], rel=1e-4)
    assert_same(trained(job), found.network, rtol=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_balanced_classes_train_as_torchs_weights_and_are_not_validated(
    smoothing: float, job_of: Any, train: Any
) -> None:
    job = job_of(data={"class_weights": "balanced"}, label_smoothing=smoothing)
    _, events = train(job)
    dataset = load_dataset(from_plain(job.settings), Path(job.working_directory))
    counts = torch.bincount(dataset.train_targets)
    weights = SAMPLES / (4 * counts)
    assert counts.min() < counts.max()
    found = plain_torch(job, smoothing=smoothing, weights=weights)
    assert_same(trained(job), found.network)
    assert [event.loss for event in epochs(events)] == pytest.approx(found.losses, rel=1e-5)
    expected = cross_entropy(found.network(dataset.validation_inputs), dataset.validation_targets).item()
    assert epochs(events)[-1].metrics.get("validation_loss") == pytest.approx(expected, rel=1e-4)
    record = json.loads((Path(job.directory) / f"{job.model}.json").read_bytes())
    assert record["class_weights"] == pytest.approx(weights.tolist(), rel=1e-6)


def part_of_checkpoint(job: Job, part: str) -> dict[str, Tensor]:
    found = checkpoints.newest_valid(Path(job.directory) / "checkpoints" / job.model)
    assert found is not None
    return found.part(part)


def test_averaged_weights_are_validated_and_kept_and_the_checkpoint_holds_both(job_of: Any, train: Any) -> None:
    job = job_of(weights_average=0.9)
    _, events = train(job)
    found = plain_torch(job, decay=0.9)
    assert found.averaged is not None
    assert_same(trained(job), found.averaged)
    dataset = load_dataset(from_plain(job.settings), Path(job.working_directory))
    expected = cross_entropy(found.averaged(dataset.validation_inputs), dataset.validation_targets).item()
    assert epochs(events)[-1].metrics.get("validation_loss") == pytest.approx(expected, rel=1e-4)
    weights, average = part_of_checkpoint(job, "weights"), part_of_checkpoint(job, "average")
    for number, (name, item) in enumerate(found.network.named_parameters()):
        torch.testing.assert_close(weights[name], item.detach(), rtol=1e-4, atol=1e-6)
        assert torch.equal(average[str(number)], trained(job).get_parameter(name))


def test_trained_further_with_an_average_equals_trained_at_once(job_of: Any, train: Any) -> None:
    short, long = job_of("run", epochs=2, weights_average=0.9), job_of("run", epochs=4, weights_average=0.9)
    at_once = job_of("at once", epochs=4, weights_average=0.9)
    for job in (short, long, at_once):
        train(job)
    for name, tensor in trained(at_once).named_parameters():
        assert torch.equal(trained(long).get_parameter(name), tensor)


def test_what_is_off_leaves_nothing_in_a_checkpoint(job_of: Any, train: Any) -> None:
    job = job_of(epochs=1)
    train(job)
    assert part_of_checkpoint(job, "average") == part_of_checkpoint(job, "gradients") == {}
    record = json.loads((Path(job.directory) / f"{job.model}.json").read_bytes())
    assert record["class_weights"] is None
    config = record["config"]
    assert {name: config[name] for name in ("schedule", "accumulate", "weights_average")} == {
        "schedule": "constant", "accumulate": 1, "weights_average": 0.0,
    }  # fmt: skip
