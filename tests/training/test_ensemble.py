"""The mean prediction of several models: what it is for each task, and how it does on the validation part."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from forge_tui.errors import DataError, UsageError
from forge_tui.protocol.job import Control
from forge_tui.settings.schema import from_plain
from forge_tui.training.data import load_dataset
from forge_tui.training.ensemble import load_members, measure_members
from forge_tui.training.export import load_model
from forge_tui.training.record_file import read_model_record
from forge_tui.training.trainer import Trainer

TEXT = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs. " * 20
PRICES = "\n".join(["a,b,target", *(f"{x / 10},{x % 7},{200 * x - x % 7 + 0.5}" for x in range(90))])


@pytest.fixture
def trained(make_job: Any, tmp_path: Path) -> Any:
    """Stems of three models of one run, and the settings they share."""
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "prices.csv").write_text(PRICES, encoding="utf-8")

    def make(directory: str = "run", models: int = 3, data: Any = None, **training: Any) -> tuple[list[Path], Any]:
        training = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, **training}
        first = make_job(directory, training=training, data=data)
        jobs = [
            dataclasses.replace(first, model=f"cognate_planner_{index}", index=index, seed=index)
            for index in range(1, models + 1)
        ]
        Trainer(jobs, lambda event: None, Control()).run()
        return [Path(job.directory) / job.model for job in jobs], from_plain(first.settings)

    return make


def test_classes_have_the_mean_of_the_probabilities(trained: Any, tmp_path: Path) -> None:
    stems, settings = trained()
    dataset = load_dataset(settings, tmp_path)
    inputs, targets = dataset.validation_inputs, dataset.validation_targets
    ensemble = load_members(stems)
    assert not ensemble.training
    mean = torch.stack([load_model(stem)(inputs).softmax(dim=-1) for stem in stems]).mean(dim=0)
    torch.testing.assert_close(ensemble(inputs).exp(), mean, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(ensemble(inputs).softmax(dim=-1), mean, rtol=1e-5, atol=1e-7)
    found = measure_members(stems, tmp_path)
    assert (found.task, found.validation_samples) == ("classification", len(targets))
    assert found.ensemble.get("validation_loss") == pytest.approx(
        -mean[range(len(targets)), targets].log().mean().item(), rel=1e-5
    )
    assert found.ensemble.get("validation_accuracy") == (mean.argmax(dim=1) == targets).float().mean().item()
    assert found.changed == (None, None, None)
    for stem, own in zip(stems, found.members, strict=True):
        expected = cross_entropy(load_model(stem)(inputs), targets).item()
        assert own["validation_loss"] == pytest.approx(expected, rel=1e-5)
        assert own["validation_loss"] == pytest.approx(read_model_record(stem)["validation"]["loss"], rel=1e-4)


def test_tokens_too(trained: Any, tmp_path: Path) -> None:
    stems, settings = trained(dataset="text.txt", model_type="memory")
    dataset = load_dataset(settings, tmp_path)
    mean = torch.stack([load_model(stem)(dataset.validation_inputs).softmax(dim=-1) for stem in stems]).mean(dim=0)
    torch.testing.assert_close(load_members(stems)(dataset.validation_inputs).exp(), mean, rtol=1e-4, atol=1e-7)
    found = measure_members(stems, tmp_path)
    loss = -mean.gather(-1, dataset.validation_targets.unsqueeze(-1)).log().mean()
    assert found.ensemble.get("validation_loss") == pytest.approx(loss.item(), rel=1e-5)
    assert found.ensemble.get("validation_perplexity") == pytest.approx(loss.exp().item(), rel=1e-5)


def test_a_regression_has_the_mean_of_the_predictions_in_their_own_units(trained: Any, tmp_path: Path) -> None:
    stems, settings = trained(dataset="prices.csv")
    dataset = load_dataset(settings, tmp_path)
    inputs, targets = dataset.validation_inputs, dataset.validation_targets
    mean = torch.stack([load_model(stem)(inputs) for stem in stems]).mean(dim=0)
    torch.testing.assert_close(load_members(stems)(inputs), mean, rtol=1e-5, atol=1e-3)
    found = measure_members(stems, tmp_path)
    deviation = load_model(stems[0]).target_scale
    assert found.ensemble.get("validation_loss") == pytest.approx(
        ((mean - targets) / deviation).square().mean().item(), rel=1e-4
    )
    assert (found.ensemble.get("validation_accuracy"), found.ensemble.get("validation_perplexity")) == (None, None)


def test_one_model_is_its_own_ensemble(trained: Any, tmp_path: Path) -> None:
    stems, _ = trained(models=1)
    found = measure_members(stems, tmp_path)
    assert found.ensemble.get("validation_loss") == pytest.approx(found.members[0].get("validation_loss"), rel=1e-6)
    assert found.ensemble.get("validation_accuracy") == found.members[0].get("validation_accuracy")


def test_models_that_do_not_fit_together_are_refused(trained: Any, tmp_path: Path) -> None:
    (one, *_), _ = trained()
    (other, *_), _ = trained("other", data={"classes": 5})
    with pytest.raises(UsageError, match="differ in classes: no mean can be taken of the two"):
        load_members([one, other])
    (larger, *_), _ = trained("larger", data={"samples": 120})
    assert len(load_members([one, larger]).members) == 2
    with pytest.raises(UsageError, match="differ in split: no validation part is that of both"):
        measure_members([one, larger], tmp_path)


def test_without_a_validation_part_there_is_nothing_to_measure(trained: Any, tmp_path: Path) -> None:
    stems, _ = trained(data={"validation_fraction": 0.0})
    with pytest.raises(DataError, match="the run has no validation part to measure on; train with --validation-frac"):
        measure_members(stems, tmp_path)
