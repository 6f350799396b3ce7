"""Ensembles: several trained models as one that gives their mean prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from forge_tui.errors import DataError, RunDirectoryError, UsageError
from forge_tui.protocol.metrics import Metrics
from forge_tui.protocol.run_data import Fingerprint, difference
from forge_tui.runs.moved import relocated
from forge_tui.settings.own_names import named_function, own_functions
from forge_tui.settings.schema import from_plain
from forge_tui.tables.encoder import Encoder, recorded_encoder
from forge_tui.training import random_state
from forge_tui.training.data.dataset import Task
from forge_tui.training.data.load import load_dataset
from forge_tui.training.export import load_model
from forge_tui.training.losses import validate
from forge_tui.training.model_code import code_of
from forge_tui.training.outputs import kind
from forge_tui.training.own_code import load_own_code
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.prediction.predictions import Predicts
from forge_tui.training.prediction.trained_model import TrainedModel
from forge_tui.training.record_file import read_model_record

_CPU = torch.device("cpu")
# Tolerance for a member's loss on the same data: another device, other versions.
_SAME_LOSS = 1e-3


class Ensemble(nn.Module):
    """The mean prediction of `members`; inputs and output shape are those of each member.

    For classes and tokens it returns the logarithm of the members' mean probabilities, for use as logits: their softmax
    is that mean, their argmax its likeliest class, and cross entropy its loss. For a regression it returns the mean
    prediction.
    """

    def __init__(self, members: Sequence[nn.Module], task: Task) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.task = task

    def forward(self, inputs: Tensor) -> Tensor:
        """As for each member; keeps only one member's outputs at a time."""
        is_regression = self.task is Task.REGRESSION
        total: Tensor | None = None
        for member in self.members:
            given = member(inputs)
            if not isinstance(given, Tensor):
                raise UsageError(f"the models give {kind(given)}: a mean is taken only of models that give one tensor")
            out = given if is_regression else given.log_softmax(dim=-1)
            if total is None:
                total = out
            else:
                total = total + out if is_regression else torch.logaddexp(total, out)
        assert total is not None
        return total / len(self.members) if is_regression else total - math.log(len(self.members))


class TrainedEnsemble(Predicts, Ensemble):
    """The ensemble of loaded models: it predicts for tables, too, as each of them."""

    def __init__(self, members: Sequence[TrainedModel]) -> None:
        first = members[0].description
        super().__init__(members, first.task)
        inputs = replace(first.inputs, model=f"the ensemble of {len(members)} models")
        self.description = replace(first, inputs=inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleFigures:
    """Metrics of each member and of the ensemble on the validation split.

    `changed`: how the data differs from that of each member's training (None: it does not).
    """

    task: str
    validation_samples: int
    members: tuple[Metrics, ...]
    changed: tuple[str | None, ...]
    ensemble: Metrics


def load_members(stems: Sequence[Path], trust_code: bool = False) -> TrainedEnsemble:
    """The ensemble of the models of path stems, in eval mode on the CPU.

    Raises `UsageError` for models of different tasks or data, and errors of `load_model`.
    """
    records = [read_model_record(stem) for stem in stems]
    for stem, record in zip(stems, records, strict=True):
        for what in ("task", "features", "classes", "vocabulary", "outputs", "table"):
            if record.get(what) != records[0].get(what):
                named = "how their table becomes numbers" if what == "table" else what
                raise UsageError(f"{stem.name} and {stems[0].name} differ in {named}: no mean can be taken of the two")
    ensemble = TrainedEnsemble([load_model(stem, trust_code) for stem in stems])
    ensemble.eval()
    return ensemble


def measure_members(
    stems: Sequence[Path],
    working_directory: Path,
    known: Sequence[Fingerprint] = (),
    *,
    trust_code: bool = False,
    moved: Mapping[str, str] | None = None,
) -> EnsembleFigures:
    """Evaluate the models of one run, and their ensemble, on the run's validation split.

    A relative dataset path is relative to `working_directory`; `known` are fingerprints of the run's data, `moved` is
    from its record (`runs.moved`). Raises `DataError` if the data cannot be read or has no validation split, and errors
    of `load_members`.
    """
    ensemble = load_members(stems, trust_code)
    records = [read_model_record(stem) for stem in stems]
    for stem, record in zip(stems, records, strict=True):
        for what in ("split", "normalisation"):
            if record.get(what) != records[0].get(what):
                raise UsageError(
                    f"{stem.name} and {stems[0].name} differ in {what}: no validation part is that of both"
                )
    networks = [member for member in ensemble.members if isinstance(member, TrainedModel)]
    settings = from_plain(records[0].get("settings", {}))
    named = tuple(own_functions(settings.training))
    code = code_of(stems[0], records[0], named, trust_code=trust_code) if named else nullcontext(settings)
    with code as settings, random_state.kept():
        if named_function(settings.training.dataset) is None:
            dataset_now = relocated(settings, moved or {}).training.dataset
            settings = replace(settings, training=replace(settings.training, dataset=dataset_now))
        own = replace(load_own_code(settings), metric=None)  # the task's own metrics are compared
        version = _data_version(records[0])
        dataset = load_dataset(settings, working_directory, own.dataset, known, version, _encoder(stems[0], records[0]))
    data = PlacedData(dataset, networks[0], settings.training.batch_size, _CPU)
    if data.validation is None:
        raise DataError("the run has no validation part to measure on; train with --validation-fraction above 0")
    bodies = [network.body for network in networks]
    members = [validate(body, data.task, *data.validation, own=own, known=data.known) for body in bodies]
    assert dataset.fingerprint is not None
    return EnsembleFigures(
        task=data.task.value,
        validation_samples=len(data.validation[0]),
        members=tuple(members),
        changed=tuple(
            _change(stem, record, dataset.fingerprint, member["validation_loss"])
            for stem, record, member in zip(stems, records, members, strict=True)
        ),
        # Of scaled predictions: with equal scaling, the mean is scaled in the same way.
        ensemble=validate(Ensemble(bodies, data.task), data.task, *data.validation, own=own, known=data.known),
    )


def _encoder(stem: Path, record: Mapping[str, Any]) -> Encoder | None:
    """The encoder of the model's table: its inputs are those of its training, whatever the data is now."""
    try:
        return recorded_encoder(record)
    except ValueError as error:
        raise RunDirectoryError(f"{stem}.json: {error}") from None


def _data_version(record: Mapping[str, Any]) -> int:
    """How the model's data was read."""
    version = record.get("data_version", 1)
    return version if isinstance(version, int) else 1


def _change(stem: Path, record: dict[str, Any], now: Fingerprint, loss: float | None) -> str | None:
    """How the data differs from that of a model's training, or None. Raises `RunDirectoryError`.

    A model of version 0.1.0 has no fingerprint: then a different loss shows changed data.
    """
    if record.get("data") is not None:
        try:
            before = Fingerprint.from_record(record["data"])
        except ValueError as error:
            raise RunDirectoryError(f"{stem}.json is damaged ({error}); train the model again") from None
        return None if before.is_of_same_data(now) else difference(before, now)
    trained = record["validation"]["loss"]
    if trained is None or loss is None or abs(loss - trained) <= _SAME_LOSS * max(abs(trained), _SAME_LOSS):
        return None
    return "another validation loss than when it was trained"
