"""Tries custom code once before any model is queued, and reports errors in it clearly.

Otherwise every worker would find the same error: in the first step, at the end of the first epoch, whose last batch
may be short, or in validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from forge_tui.errors import ForgeError, SettingsError
from forge_tui.safe_io.printing import named
from forge_tui.settings.own_names import named_function
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training import random_state
from forge_tui.training.data.dataset import Dataset, Task
from forge_tui.training.failures import is_out_of_memory
from forge_tui.training.losses import NAMES, Loss, loss_in_use, validate, validation_rows
from forge_tui.training.outputs import kind
from forge_tui.training.own_code import OwnCode, error_in_words
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import SingleState, class_weights, measured_in_units


def rehearse(training: TrainingConfig, dataset: Dataset, seed: int, device: torch.device, own: OwnCode) -> None:
    """Train a model on one batch and on the shortest one of the run, and validate it.

    Only with custom code, and never compiled. The random generators' states are restored. Raises `SettingsError` that
    names the function, the place in its code, its arguments, and what to do; out-of-memory errors are passed on.
    """
    if not own.takes_part and named_function(training.dataset) is None:
        return
    before = random_state.capture(device)
    try:
        _Rehearsal(replace(training, compile=False), dataset, seed, device, own).run()
    finally:
        random_state.restore(before, device)


@dataclass(slots=True, kw_only=True)
class _Now:
    """The present stage, for the message."""

    stage: str = ""
    batch: str = ""
    is_short: bool = False
    given: str = ""


class _Rehearsal:
    def __init__(
        self, training: TrainingConfig, dataset: Dataset, seed: int, device: torch.device, own: OwnCode
    ) -> None:
        self._training, self._dataset, self._device, self._own = training, dataset, device, own
        self._seed = seed
        self._now = _Now()
        samples, size = dataset.epoch_samples(training.batch_size), training.batch_size
        self._sizes = [one for one in (min(samples, size), samples % size if samples > size else 0) if one]

    def run(self) -> None:
        with self._in_words():
            self._now.stage = "building it"
            few = self._few()
            loss = self._noted_loss(
                loss_in_use(
                    self._own,
                    few.task,
                    self._training.label_smoothing,
                    class_weights=class_weights(few, self._device),
                )
            )
            state = SingleState(self._training, few, self._seed, self._device, replace(self._own, loss=loss))
            data = PlacedData(few, state.network, self._training.batch_size, self._device)
            for number, (inputs, targets) in enumerate(state.batches(data, [self._seed])):
                self._begin_batch(number, inputs)
                result = state.loss(data, inputs, targets)
                self._now.stage = "the backward pass"
                result.backward()
                self._now.stage = "the optimizer"
                state.update()
            self._validate(state, loss)

    def _few(self) -> Dataset:
        """The data with only the rows for these batches, taken from all over it."""
        samples = sum(self._sizes)
        rows = torch.linspace(0, self._dataset.train_samples - 1, samples, dtype=torch.float64).long()
        inputs, targets = self._dataset.train_inputs[rows], self._dataset.train_targets[rows]
        return replace(self._dataset, train_inputs=inputs, train_targets=targets, drop_last=False)

    def _begin_batch(self, number: int, inputs: Tensor) -> None:
        size, short = len(inputs), number == 1
        self._now.batch = f"a batch of {size} sample{'s' if size > 1 else ''}"
        if short:
            whole = f"{self._dataset.train_samples:,} training samples in batches of {self._training.batch_size:,}"
            self._now.batch += f", the last of each epoch ({whole})"
        self._now.is_short = short
        self._now.stage, self._now.given = "the forward pass", f"it gets {_described(inputs)}"

    def _validate(self, state: SingleState, loss: Loss) -> None:
        """Validate on one batch, or on all data for a metric that needs it."""
        dataset = self._dataset
        if dataset.validation_inputs is None or dataset.validation_targets is None:
            return
        batch = min(dataset.validation_samples, validation_rows(dataset.validation_inputs, state.network.body))
        for rows in dict.fromkeys((batch, dataset.validation_samples)):
            part = replace(
                dataset,
                validation_inputs=dataset.validation_inputs[:rows],
                validation_targets=dataset.validation_targets[:rows],
            )
            try:
                self._validate_part(state, loss, part)
                return
            except Exception:
                if rows == dataset.validation_samples or self._now.stage != "--metric":
                    raise

    def _validate_part(self, state: SingleState, loss: Loss, part: Dataset) -> None:
        few = replace(part, train_inputs=part.train_inputs[:1], train_targets=part.train_targets[:1], drop_last=False)
        validation = PlacedData(few, state.network, 1, self._device).validation
        assert validation is not None
        inputs, targets = validation
        self._now.batch, self._now.is_short = f"{len(inputs):,} validation samples", False
        self._now.stage, self._now.given = "the forward pass", f"it gets {_described(inputs)}"
        own = self._noted_metric(measured_in_units(self._own, state.network, part))
        with state.average.in_use(), state.autocast:
            validate(state.network.body, part.task, inputs, targets, own=replace(own, loss=loss))

    # --- stages

    def _noted_loss(self, function: Loss) -> Loss:
        def loss(outputs: Any, targets: Tensor) -> Tensor:
            self._note("--loss", outputs, targets)
            if self._own.loss is None and self._own.model is not None:
                self._require_shape(outputs, targets)
            result = function(outputs, targets)
            self._now.stage = "the forward pass"
            return result

        return loss

    def _noted_metric(self, own: OwnCode) -> OwnCode:
        function = own.metric
        if function is None:
            return own

        def metric(outputs: Any, targets: Tensor) -> float:
            self._note("--metric", outputs, targets)
            result = function(outputs, targets)
            self._now.stage = "the forward pass"
            return result

        return replace(own, metric=metric)

    def _note(self, stage: str, outputs: Any, targets: Tensor) -> None:
        self._now.stage = stage
        self._now.given = f"it gets outputs {_described(outputs)} and targets {_described(targets)}"

    def _require_shape(self, outputs: Any, targets: Tensor) -> None:
        """Raise `SettingsError` for outputs that the built-in loss would misinterpret."""
        if not isinstance(outputs, Tensor):
            raise SettingsError(
                f"--model-type {named(self._training.model_type)} gives {kind(outputs)}: {_described(outputs)}; the "
                f"built-in loss ({NAMES[self._dataset.task]}) takes one tensor: give a custom loss (--loss "
                "file.py:function), which gets the model's whole output, or return one tensor"
            )
        task, wide = self._dataset.task, self._dataset.outputs
        expected = tuple(targets.shape) if task is Task.REGRESSION else (*targets.shape, wide)
        fits = tuple(outputs.shape) == expected
        if task is not Task.REGRESSION and outputs.dim() == len(expected):
            fits = tuple(outputs.shape[:-1]) == expected[:-1] and outputs.shape[-1] >= wide
        if not fits:
            raise SettingsError(
                f"--model-type {named(self._training.model_type)} gives {_described(outputs)} for {self._now.batch}; "
                f"{NAMES[task]} needs {expected}: (…, inputs.outputs). Return that, or give a custom loss (--loss)"
            )

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except ForgeError:
            raise
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error):
                raise
            raise SettingsError(self._message(error)) from error

    def _message(self, error: BaseException) -> str:
        now, training = self._now, self._training
        model = f"--model-type {named(training.model_type)}"
        whose = {"--loss": f"--loss {named(training.loss)}", "--metric": f"--metric {named(training.metric)}"}
        if now.stage == "--loss" and self._own.loss is None:
            failed = f"the built-in loss ({NAMES[self._dataset.task]}) of {model}"
        elif now.stage in whose:
            failed = whose[now.stage]
        else:
            failed = f"{now.stage} of {model}"
        place = f" for {now.batch}" if now.batch else ""
        return f"{failed} fails{place}: {error_in_words(error)}; {self._advice(error)}"

    def _advice(self, error: BaseException) -> str:
        now = self._now
        if now.is_short and now.stage != "the optimizer":
            return "--drop-last leaves that batch out (data.drop_last = true), or use another --batch-size"
        if now.stage == "the optimizer":
            return (
                f"--optimizer {self._training.optimizer} needs parameters of real numbers in the memory of one device; "
                "keep complex ones as pairs of real numbers (torch.view_as_complex in the forward pass)"
            )
        if now.stage in ("--loss", "--metric", "the forward pass"):
            return now.given
        if now.stage == "the backward pass":
            return "every step from the parameters to the loss must have a gradient"
        return "change it so that a model can be built"


def _described(value: Any) -> str:
    """Types and shapes: `float32 (16, 3)`; also for several tensors."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        inside = ", ".join(map(_described, value))
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!s}: {_described(one)}" for name, one in value.items()) + "}"
    return kind(value)
