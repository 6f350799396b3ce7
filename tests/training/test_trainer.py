from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits

from forge_tui.errors import DataError, RunDirectoryError
from forge_tui.protocol.events import (
    CheckpointSaved,
    EpochFinished,
    Event,
    ModelCompleted,
    ModelStarted,
    PhaseChanged,
    to_record,
)
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.settings.schema import TrainingConfig, from_plain
from forge_tui.training import group_state, random_state, state
from forge_tui.training.data import load_dataset
from forge_tui.training.export import load_model
from forge_tui.training.failures import Diverged
from forge_tui.training.losses import Task, validate
from forge_tui.training.models import Network, build_model
from forge_tui.training.state import SingleState
from forge_tui.training.trainer import Trainer
from forge_tui.worker.inspection import Probe


def stem(job: Job) -> Path:
    return Path(job.directory) / job.model


def record(job: Job) -> dict[str, Any]:
    return json.loads(stem(job).with_suffix(".json").read_bytes())


def epochs(events: list[Event]) -> list[EpochFinished]:
    return [event for event in events if isinstance(event, EpochFinished)]


def test_events_tell_the_whole_story(make_job: Any, train: Any) -> None:
    job = make_job(training={"epochs": 5, "checkpoint_interval": 2}, attempt=3)
    outcome, events = train(job)
    assert outcome is Outcome.COMPLETED
    phases = [(event.previous, event.phase) for event in events if isinstance(event, PhaseChanged)]
    saved = [("training", "checkpointing"), ("checkpointing", "training")]
    begin, end = (
        [("queued", "initializing"), ("initializing", "training")],
        [("training", "saving"), ("saving", "completed")],
    )
    # A checkpoint is written beside the training, which waits for it where the next is due or the end has come.
    assert phases in [begin + saved * times + end for times in (1, 2, 3)]
    kinds = [event.event for event in events]
    assert kinds[-2:] == ["model_completed", "phase_changed"]
    assert kinds.index("model_started") < kinds.index("epoch_finished")
    started = next(event for event in events if isinstance(event, ModelStarted))
    assert (started.seed, started.worker, started.threads, started.config["epochs"]) == (0, os.getpid(), 1, 5)
    assert [event.epoch for event in events if isinstance(event, CheckpointSaved)] == [2, 4, 5]
    assert all({event.model, event.index, event.attempt} == {job.model, 1, 3} for event in events)
    assert all(json.dumps(to_record(event, "r"), allow_nan=False) for event in events)
    assert [path.name for path in (Path(job.directory) / "checkpoints" / job.model).iterdir()] == [
        "step-000000000020-attempt-3.safetensors"
    ]


def test_epochs_have_steps_metrics_and_an_estimate_after_warm_up(make_job: Any, train: Any) -> None:
    found = epochs(train(make_job(training={"epochs": 6}))[1])
    assert [(event.epoch, event.step) for event in found] == [(number, 4 * number) for number in range(1, 7)]
    assert [event.best_loss for event in found] == [min(e.loss for e in found[: n + 1]) for n in range(6)]
    assert all(
        0.0 <= event.metrics.get("validation_accuracy") <= 1.0 and event.metrics.get("validation_perplexity") is None
        for event in found
    )
    assert found[0].eta_seconds is None
    assert found[1].eta_seconds == pytest.approx(4 * found[1].seconds)
    assert found[5].eta_seconds == 0.0
    assert all(event.metrics.get("learning_rate") == 0.001 for event in found)


def test_epoch_loss_is_the_mean_over_samples(make_job: Any, train: Any) -> None:
    """With a learning rate that changes nothing: the mean over all samples, the short last batch weighted as it is."""
    job = make_job(training={"learning_rate": 1e-30, "epochs": 1}, data={"validation_fraction": 0.0})
    found = epochs(train(job)[1])[0]
    dataset = load_dataset(from_plain(job.settings), Path(job.working_directory))
    with torch.inference_mode():
        logits = load_model(stem(job))(dataset.train_inputs)
    expected = torch.nn.functional.cross_entropy(logits, dataset.train_targets).item()
    assert found.loss == pytest.approx(expected, rel=1e-6)
    assert (found.metrics.get("validation_loss"), found.metrics.get("validation_accuracy")) == (None, None)


def test_defaults_learn_the_synthetic_data_and_the_model_comes_back(make_job: Any, train: Any) -> None:
    job = make_job(
        training={"model_size": 100_000, "epochs": 12}, data={"samples": 1_000, "features": 64, "classes": 10}
    )
    last = epochs(train(job)[1])[-1]
    assert last.metrics.get("validation_accuracy") > 0.85
    dataset = load_dataset(from_plain(job.settings), Path(job.working_directory))
    random_state = torch.get_rng_state()
    model = load_model(stem(job))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not model.training
    with torch.inference_mode():
        guessed = model(dataset.validation_inputs).argmax(dim=1)
    assert (guessed == dataset.validation_targets).double().mean().item() == last.metrics.get("validation_accuracy")
    assert record(job)["validation"]["accuracy"] == last.metrics.get("validation_accuracy")


def test_digits_reach_95_percent_in_30_epochs(make_job: Any, train: Any, tmp_path: Path) -> None:
    pixels, labels = load_digits(return_X_y=True)
    lines = [",".join(f"{value:g}" for value in (*row, label)) for row, label in zip(pixels, labels, strict=True)]
    header = ",".join([*(f"pixel{number}" for number in range(64)), "target"])
    (tmp_path / "digits.csv").write_text("\n".join([header, *lines]))
    job = make_job(training={"model_size": 100_000, "epochs": 30, "dataset": "digits.csv"})
    assert epochs(train(job)[1])[-1].metrics["validation_accuracy"] >= 0.95
    assert record(job)["classes"] == list(range(10))


def test_regression_predicts_in_the_targets_own_units(make_job: Any, train: Any, tmp_path: Path) -> None:
    lines = [f"{x},{x * x % 7},{250_000.5 + 1_000 * x}" for x in range(200)]
    (tmp_path / "houses.csv").write_text("\n".join(["x,noise,price", *lines]))
    job = make_job(training={"epochs": 60, "dataset": "houses.csv"}, data={"target": "price"})
    last = epochs(train(job)[1])[-1]
    assert last.metrics.get("validation_loss") < 0.01
    assert (last.metrics.get("validation_accuracy"), last.metrics.get("validation_perplexity")) == (None, None)
    with torch.inference_mode():
        price = load_model(stem(job))(torch.tensor([[100.0, 4.0]]))
    assert price.shape == (1, 1)
    assert price.item() == pytest.approx(350_000.5, rel=0.05)
    assert (record(job)["task"], record(job)["target"]) == ("regression", "price")


@pytest.mark.parametrize("architecture", ["planner", "reasoner", "memory"])
def test_text_is_learned_with_perplexity(make_job: Any, train: Any, tmp_path: Path, architecture: str) -> None:
    (tmp_path / "t.txt").write_text("hello world. " * 300)
    job = make_job(
        training={"model_type": architecture, "model_size": 5_000, "epochs": 20, "dataset": "t.txt", "batch_size": 4}
    )
    found = epochs(train(job)[1])
    assert found[-1].metrics.get("validation_perplexity") == pytest.approx(
        math.exp(found[-1].metrics.get("validation_loss"))
    )
    assert found[-1].metrics.get("validation_perplexity") < 1.6
    assert found[-1].metrics.get("validation_accuracy") is None
    told = record(job)
    assert "".join(told["vocabulary"]) == " .dehlorw"
    with torch.inference_mode():
        after_hell = load_model(stem(job))(torch.tensor([[" .dehlorw".index(letter) for letter in "world. hell"]]))
    assert told["vocabulary"][after_hell[0, -1].argmax()] == "o"


def test_validation_measures_what_it_says_and_draws_no_random_numbers() -> None:
    class Table(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs

    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]]).repeat(3_000, 1)
    targets = torch.tensor([0, 0, 0]).repeat(3_000)
    before = torch.get_rng_state()
    found = validate(Table(), Task.CLASSIFICATION, logits, targets)
    assert torch.equal(torch.get_rng_state(), before)
    assert found["validation_accuracy"] == pytest.approx(2 / 3)
    expected = sum(math.log1p(math.exp(gap)) for gap in (-2.0, 1.0, -3.0)) / 3
    assert found["validation_loss"] == pytest.approx(expected, rel=1e-6)


def test_divergence_is_reported_and_raised(make_job: Any) -> None:
    job = make_job(training={"optimizer": "sgd", "learning_rate": 10.0, "momentum": 0.99, "epochs": 100})
    events: list[Event] = []
    with pytest.raises(Diverged, match=r"the loss of epoch \d+ is (nan|inf): .* lower --learning-rate \(now 10\)"):
        Trainer([job], events.append, Control()).run()
    assert not math.isfinite(epochs(events)[-1].loss)
    assert to_record(epochs(events)[-1], "r")["diverged"] is True
    assert epochs(events)[-1].best_loss is None or math.isfinite(epochs(events)[-1].best_loss)
    assert not stem(job).with_suffix(".json").exists()


def test_metadata_holds_what_the_contract_names(make_job: Any, train: Any) -> None:
    job = make_job(attempt=2)
    completed = next(event for event in train(job)[1] if isinstance(event, ModelCompleted))
    told = record(job)
    names = (
        "format name final_model config settings seed parameters task features target classes vocabulary normalisation "
        "split loss best_loss metrics validation epochs_completed history started finished attempts threads group "
        "device exact versions sha256"
    )
    assert set(names.split()) <= told.keys()
    assert (told["format"], told["name"], told["final_model"]) == (1, job.model, True)
    assert set(told["config"]) == {field.name for field in dataclasses.fields(TrainingConfig)}
    assert told["settings"] == json.loads(json.dumps(job.settings))
    assert (told["epochs_completed"], len(told["history"]), told["attempts"]) == (4, 4, 2)
    assert told["history"][-1]["loss"] == told["loss"] == completed.metrics["loss"]
    assert told["history"][-1]["metrics"] == told["metrics"] == completed.metrics
    assert completed.path == str(stem(job))
    assert told["parameters"] == sum(item.numel() for item in load_model(stem(job)).parameters())
    assert stem(job).with_suffix(".json").stat().st_mode & 0o777 == 0o600


def test_equal_jobs_give_equal_bytes_and_seeds_differ(make_job: Any, train: Any) -> None:
    jobs = [make_job("a"), make_job("b"), make_job("c", seed=1)]
    for job in jobs:
        train(job)
    first, again, other = (stem(job).with_suffix(".safetensors").read_bytes() for job in jobs)
    assert first == again
    assert first != other
    header = json.loads(first[8 : 8 + int.from_bytes(first[:8], "little")])
    assert len(header.get("__metadata__", {})) <= 1


def test_a_finished_model_with_other_values_is_trained_again(make_job: Any, train: Any) -> None:
    """A search whose runner died before it recorded a proposal may propose other values for the same model."""
    rate = {"learning_rate": 0.003}
    train(make_job("a"))
    wanted = make_job("b", rate)
    train(wanted)
    again = make_job("a", rate, attempt=2, inherited_step=0)
    train(again)
    first, second = (json.loads(stem(job).with_suffix(".json").read_text("utf-8")) for job in (wanted, again))
    assert (second["sha256"], second["config"]["learning_rate"]) == (first["sha256"], 0.003)
    before = stem(again).with_suffix(".json").stat().st_mtime_ns
    train(make_job("a", rate, attempt=3))
    assert stem(again).with_suffix(".json").stat().st_mtime_ns == before, "one with the same values is only reported"


def early(training: TrainingConfig, dataset: Any, seed: int, own: Any) -> Network:
    """A network as early versions made it."""
    random_state.seed_everything(seed)
    body = build_model(training.model_type, training.model_size, dataset.inputs, in_eights=False)
    return Network(body, dataset.normalisation)


def test_models_of_early_versions_are_loaded_and_not_gone_on_with(
    make_job: Any, train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(training={"epochs": 2, "model_size": 20_000})
    with monkeypatch.context() as patch:
        for module in (state, group_state):
            patch.setattr(module, "new_network", early)
        train(job)
    assert load_model(stem(job)).body.leave.weight.shape[1] % 8
    stem(job).with_suffix(".json").unlink()
    with pytest.raises(RunDirectoryError, match=r"is of another model than these settings describe \(.*--overwrite"):
        train(dataclasses.replace(job, attempt=2))


def test_load_model_refuses_what_is_damaged(make_job: Any, train: Any) -> None:
    job = make_job(training={"epochs": 1})
    train(job)
    weights, metadata = stem(job).with_suffix(".safetensors"), stem(job).with_suffix(".json")
    sound = load_model(weights)
    assert torch.equal(next(sound.parameters()), next(load_model(metadata).parameters()))
    data, text = weights.read_bytes(), metadata.read_bytes()

    def refused(message: str) -> None:
        with pytest.raises(RunDirectoryError, match=message):
            load_model(stem(job))

    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused("its SHA-256 is not the recorded one")
    weights.write_bytes(data[:-3])
    refused("is damaged")
    weights.unlink()
    refused(r"safetensors is missing")
    weights.write_bytes(data)
    for content, message in (
        (b"{", "is damaged"),
        (b"[]", "is not a model's metadata"),
        (text.replace(b'"format": 1', b'"format": 2'), "newer forge-tui"),
        (text.replace(b'"model_size": 2000', b'"model_size": 9000'), "is intact, but does not fit the model that"),
    ):
        metadata.write_bytes(content)
        refused(message)
    metadata.unlink()
    refused("there is no model at")


def test_probe_tells_what_training_would_find(make_job: Any, train: Any) -> None:
    job = make_job()
    Probe(job)  # what the first look imports is no part of a model's memory
    found = Probe(job).inspect()
    started = next(event for event in train(job)[1] if isinstance(event, ModelStarted))
    assert found.parameters == started.parameters
    assert (found.train_samples, found.validation_samples) == (99, 11)
    assert (found.features, found.classes, found.task) == (12, 4, "classification")
    assert found.device_bytes is None
    larger = Probe(make_job(training={"model_size": 1_000_000})).inspect(for_gpu=True)
    assert larger.device_bytes is not None  # estimated for nodes with GPUs, where there is none
    assert larger.device_bytes[1] > 4 * 4 * 998_000
    assert larger.estimated_bytes - found.estimated_bytes > 4 * 4 * 998_000
    with pytest.raises(DataError, match="no such file"):
        Probe(make_job(training={"dataset": "absent.csv"}))


def test_ways_are_measured_with_real_training(make_job: Any) -> None:
    measured = Probe(make_job()).measure([(1, 1, False), (3, 1, False), (64, 1, False)], 0.02, most_bytes=float("inf"))
    assert [(way.models, way.threads) for way in measured.ways] == [(1, 1), (3, 1), (64, 1)]
    assert all(way.steps_per_second > 0 for way in measured.ways)
    assert measured.ways[0].worker_bytes < measured.ways[1].worker_bytes < measured.ways[2].worker_bytes
    assert measured.save_seconds > 0
    room = measured.ways[1].worker_bytes
    tried = Probe(make_job()).measure([(1, 1, False), (64, 1, False)], 0.02, most_bytes=room)
    assert [way.steps_per_second > 0 for way in tried.ways] == [True, False]


def test_a_way_is_measured_by_what_it_computes_not_by_how_long_others_kept_it_waiting(
    make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = passed = 0.0
    waits = itertools.cycle((0.0, 0.009, 0.001))
    update = SingleState.update

    def busy_update(self: SingleState) -> None:
        nonlocal used, passed
        update(self)
        used += 0.001
        passed += 0.001 + next(waits)

    monkeypatch.setattr(SingleState, "update", busy_update)
    monkeypatch.setattr(time, "thread_time", lambda: used)
    monkeypatch.setattr(time, "perf_counter", lambda: passed)
    (way,) = Probe(make_job(training={"kernel": "eager"})).measure([(1, 1, False)], 0.6, most_bytes=float("inf")).ways
    assert way.steps_per_second == pytest.approx(1_000)
    assert way.cpu_share == pytest.approx(3 / 13, rel=0.1)
