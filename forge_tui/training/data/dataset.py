"""The common form of all datasets: tensors, split into training and validation, with their meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from forge_tui.errors import DataError, SettingsError
from forge_tui.protocol.run_data import Fingerprint
from forge_tui.safe_io.printing import named
from forge_tui.tables.encoder import Encoder
from forge_tui.tables.report import TableReport
from forge_tui.training.data.fingerprint import split_digest
from forge_tui.training.data.split import Split
from forge_tui.training.data.stored import StoredRows
from forge_tui.training.data.task import Task as Task
from forge_tui.training.models.inputs import InputSpec

Scaling = Literal["standard", "minmax", "robust"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Normalisation:
    """Means and scales in the model's buffers: features float32 (features,), targets (outputs,) or None.

    Those of targets that are float64 (`Dataset`) are float64, too.
    """

    feature_mean: Tensor
    feature_scale: Tensor
    target_mean: Tensor | None = None
    target_scale: Tensor | None = None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of the figures."""
        names = ("feature_mean", "feature_scale", "target_mean", "target_scale")
        values = {name: getattr(self, name) for name in names}
        return {name: None if value is None else value.tolist() for name, value in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Raw data as tensors on the CPU, features also as rows on disk, with its meaning.

    Shapes: features float32 (N, F), from custom code (N, …) too, tokens int64 (N, T); targets int64 (N,) for
    classes, float32 (N, K) for regression (from custom code also (N, …, K)), int64 (N, T) for next tokens. `outputs` is
    the number of classes, targets or tokens. Tokens have a `vocabulary`; a sequence of them may also have a class, read
    at its last position. `class_weights`, float32 (classes,), weight the training loss; None: equal. `drop_last`: a
    short last batch of an epoch is left out. `split_sha256` is of the rows of either split (None: the dataset provided
    the splits), `content_sha256` of a dataset function's result; `load_dataset` sets `fingerprint` from them.
    The test split (None: there is none) is measured once, at the end of a model's training. `validation_rows` and
    `test_rows`, int64 (n,): the place of each sample in its source, 1 for the first (None: it has none).
    `features` of a table are its columns, which `encoder` turns into the inputs' F numbers; `table` is what
    the table was found to be. Regression targets that float32 could not tell apart are float64.
    """

    task: Task
    train_inputs: Tensor | StoredRows
    train_targets: Tensor
    validation_inputs: Tensor | StoredRows | None
    validation_targets: Tensor | None
    outputs: int
    features: tuple[str, ...]
    target: str | None
    classes: tuple[str | int | float | bool, ...] | None
    vocabulary: tuple[str, ...] | None
    normalisation: Normalisation | None
    split: dict[str, Any]
    class_weights: Tensor | None = None
    drop_last: bool = False
    split_sha256: str | None = None
    content_sha256: str | None = None
    test_inputs: Tensor | StoredRows | None = None
    test_targets: Tensor | None = None
    validation_rows: Tensor | None = None
    test_rows: Tensor | None = None
    encoder: Encoder | None = None
    table: TableReport | None = None
    fingerprint: Fingerprint | None = None

    @property
    def inputs(self) -> InputSpec:
        """Inputs and outputs of a model for this data."""
        if self.vocabulary is not None:
            return token_inputs(self.task, len(self.vocabulary), self.outputs)
        return real_inputs(tuple(self.train_inputs.shape[1:]), self.outputs)

    @property
    def train_samples(self) -> int:
        """The number of training samples."""
        return self.train_inputs.shape[0]

    def epoch_samples(self, batch_size: int) -> int:
        """Samples per epoch. Raises `SettingsError` if the short last batch is the only one."""
        if not self.drop_last:
            return self.train_samples
        if self.train_samples < batch_size:
            raise SettingsError(
                f"data.drop_last leaves nothing to train on: {self.train_samples:,} training samples are fewer than a "
                f"batch of {batch_size:,}; use a --batch-size of at most {self.train_samples:,}, or leave "
                "data.drop_last out"
            )
        return self.train_samples - self.train_samples % batch_size

    @property
    def validation_samples(self) -> int:
        """The number of validation samples."""
        return 0 if self.validation_inputs is None else self.validation_inputs.shape[0]

    @property
    def test_samples(self) -> int:
        """The number of samples of the test split."""
        return 0 if self.test_inputs is None else self.test_inputs.shape[0]


def real_inputs(shape: tuple[int, ...], outputs: int) -> InputSpec:
    """Inputs and outputs of a model of numbers: flat features, or samples of another shape."""
    if len(shape) == 1:
        return InputSpec(features=shape[0], outputs=outputs)
    return InputSpec(shape=shape, outputs=outputs)


def token_inputs(task: Task, vocabulary: int, outputs: int) -> InputSpec:
    """Inputs and outputs of a model of tokens: one output per sequence for classes, else one per position."""
    return InputSpec(vocabulary=vocabulary, outputs=outputs, last_only=task is Task.CLASSIFICATION)


def fit_scale(values: Tensor, scaling: Scaling = "standard") -> tuple[Tensor, Tensor]:
    """Offset and divisor of each column, float32; a constant column is divided by 1.

    `standard` gives mean and standard deviation, `minmax` minimum and range, which scales to 0 … 1, `robust` median and
    interquartile range, or if that is 0 the deviation.
    """
    exact = values.double()
    mean = exact.mean(dim=0)
    standard = scale_of(mean, (exact - mean).square().mean(dim=0))
    match scaling:
        case "standard":
            return standard
        case "minmax":
            return range_of(*exact.aminmax(dim=0))
    lower, median, upper = torch.from_numpy(np.quantile(exact.numpy(), (0.25, 0.5, 0.75), axis=0))
    return median.float(), torch.where(upper > lower, upper - lower, standard[1].double()).float()


def normalisation_of(task: Task, of_features: tuple[Tensor, Tensor], targets: Tensor) -> Normalisation:
    """The scaling of features and, for a regression, of targets; `targets` are those of the training split.

    `of_features` is `fit_scale` of its features.
    """
    target_mean, target_scale = _scale_of_targets(targets) if task is Task.REGRESSION else (None, None)
    return Normalisation(
        feature_mean=of_features[0], feature_scale=of_features[1], target_mean=target_mean, target_scale=target_scale
    )


def _scale_of_targets(targets: Tensor) -> tuple[Tensor, Tensor]:
    """As `fit_scale`; in float64 for targets that float32 could not tell apart."""
    if targets.dtype is not torch.float64:
        return fit_scale(targets)
    mean, deviation = targets.mean(dim=0), targets.std(dim=0, correction=0)
    is_constant = targets.amax(dim=0) == targets.amin(dim=0)
    return mean, torch.where(is_constant, torch.ones_like(deviation), deviation)


def range_of(least: Tensor, largest: Tensor) -> tuple[Tensor, Tensor]:
    """As `fit_scale` with `minmax`, from minima and maxima in float64."""
    span = largest - least
    return least.float(), torch.where(span > 0, span, torch.ones_like(span)).float()


def scale_of(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """As `fit_scale` with `standard`, from means and variances in float64."""
    scale = variance.sqrt()
    # Rounding leaves a constant column with a deviation of about 1e-16 of its size, which must not be scaled up.
    constant = scale <= 1e-7 * mean.abs().clamp(min=1e-30)
    return mean.float(), torch.where(constant, torch.ones_like(scale), scale).float()


def assemble(
    *,
    task: Task,
    inputs: Tensor,
    targets: Tensor,
    outputs: int,
    features: tuple[str, ...],
    target: str | None,
    classes: tuple[str | int | float | bool, ...] | None,
    split: Split,
    normalise: bool,
    scaling: Scaling = "standard",
    unscaled: Tensor | None = None,
) -> Dataset:
    """A dataset of real-valued features, with scales fitted to the training split.

    `unscaled`, bool (F,): features that stay as they are. A regression's targets are scaled too, always by mean and
    deviation: the loss is then in units of the targets' variance (1.0: no better than predicting the mean), and one
    learning rate suits all units.
    """
    train, validation, test = split.train, split.validation, split.test
    normalisation = None
    if normalise:
        mean, scale = fit_scale(inputs[train], scaling)
        if unscaled is not None:
            mean, scale = mean.masked_fill(unscaled, 0.0), scale.masked_fill(unscaled, 1.0)
        normalisation = normalisation_of(task, (mean, scale), targets[train])
    return Dataset(
        task=task,
        train_inputs=inputs[train],
        train_targets=targets[train],
        validation_inputs=inputs[validation] if len(validation) else None,
        validation_targets=targets[validation] if len(validation) else None,
        outputs=outputs,
        features=features,
        target=target,
        classes=classes,
        vocabulary=None,
        normalisation=normalisation,
        split=split.record,
        split_sha256=split_digest(train, validation, test),
        test_inputs=inputs[test] if len(test) else None,
        test_targets=targets[test] if len(test) else None,
        validation_rows=validation + 1,
        test_rows=test + 1,
    )


def check_sample_count(samples: int, source: str) -> None:
    """Raise `DataError` unless there is something to train on."""
    if samples < 1:
        raise DataError(f"{named(source)} has no samples; give a dataset with at least one row of data")
