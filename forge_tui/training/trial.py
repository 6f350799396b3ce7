"""The trial: the argument of a training function (`--train FILE.py`)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from forge_tui.settings.schema import Settings
from forge_tui.training.trial_session import TrialSession

__all__ = ["Trial"]


class Trial:
    """One model of a run, trained by a function that is called as `train(trial)`.

    The generators of Python, NumPy and torch are seeded with `seed` before the call. What is not a mistake of the
    caller's (a full disk, a stop) is handled here; `errors.TrialError` names what is.
    """

    def __init__(self, session: TrialSession) -> None:
        """Made by forge-tui; `session` does the work."""
        self._session = session

    def __repr__(self) -> str:
        return f"<Trial {self.name}, seed {self.seed}, attempt {self.attempt}>"

    @property
    def name(self) -> str:
        """The model's NAME, such as `cognate_gan_1`."""
        return self._session.job.model

    @property
    def index(self) -> int:
        """Which model of the run it is, from 1."""
        return self._session.job.index

    @property
    def seed(self) -> int:
        """The model's own seed: `run.seed` + its place among the seeds of its config."""
        return self._session.job.seed

    @property
    def attempt(self) -> int:
        """Which attempt at the model this is, from 1."""
        return self._session.job.attempt

    @property
    def epochs(self) -> int:
        """How many epochs are asked for (`--epochs`)."""
        return self._session.epochs

    @property
    def device(self) -> torch.device:
        """Where to train."""
        return self._session.device

    @property
    def threads(self) -> int:
        """How many threads the resource rules give this process; torch is set to them."""
        return self._session.job.threads

    @property
    def directory(self) -> Path:
        """A directory for this model's own files: kept from attempt to attempt, and deleted with the run."""
        return self._session.directory()

    @property
    def settings(self) -> Settings:
        """The model's settings, a copy: changing it changes nothing."""
        return copy.deepcopy(self._session.settings)

    @property
    def params(self) -> Mapping[str, Any]:
        """The values under `[model]`, those of a sweep included; read-only."""
        return MappingProxyType(copy.deepcopy(self._session.settings.model))

    @property
    def should_stop(self) -> bool:
        """Whether the function is asked to end: save a checkpoint and return. For loops that prefer to look."""
        return self._session.should_stop()

    def report(
        self,
        metrics: Mapping[str, Any] | None = None,
        /,
        *,
        epoch: int | None = None,
        step: int | None = None,
        goal: Mapping[str, Literal["higher", "lower"]] | None = None,
        **more: Any,
    ) -> None:
        """Report an epoch: `trial.report(loss=0.3, epoch=7)`, or `{"val/loss": x}` for names that are no identifiers.

        Metrics are numbers, NumPy's, or tensors of shape (); names have 1–100 printable characters, at most 200 of
        them. Names that forge-tui computes itself (`loss`, `validation_loss`, `validation_accuracy` …) have the
        meaning that they have there. `epoch` counts from 1; without it the reports are counted. An epoch that is
        reported again replaces what was reported of it. `step`: optimizer steps so far. `goal` says which values of a
        metric are better, once is enough: `goal={"f1": "higher"}`.

        While the run is paused, this waits. Raises `TrialStopped` where the function is to end now; fails the model
        where `loss` is NaN or infinite (other metrics are then unknown). Raises `TrialError` for what is no report.
        """
        self._session.report({} if metrics is None else metrics, more, epoch=epoch, step=step, goal=goal)

    def checkpoint(self, state: Mapping[str | int, Any], epoch: int | None = None) -> None:
        """Save `state`, and all random states, so that `restore` gives them back after a kill, a stop or a failure.

        `state` is a nested dict with text or whole numbers as keys, of tensors, NumPy arrays, numbers, text, booleans,
        None, lists and tuples; any `state_dict()` is one. It is one file of safetensors and JSON, written whole or not
        at all. `epoch`: the one that it is of; without it the last one reported.

        Raises `TrialStopped` after a stop was asked for, once the file is there, and `TrialError` for a value of any
        other kind, naming its place. A disk that takes no file fails nothing: it is reported, and training continues.
        """
        self._session.checkpoint(state, epoch)

    def restore(self) -> dict[str | int, Any] | None:
        """The newest checkpoint that verifies, as it was given to `checkpoint`; None at the start of a model.

        Values have the types that they had; the random states are set to what they were then.
        """
        found: dict[str | int, Any] | None = self._session.restore()
        return found

    def save(self, model: nn.Module | Mapping[str, Tensor]) -> None:
        """Keep these weights as the finished model: NAME.safetensors and NAME.json are written when the function ends.

        `model` is a module or its `state_dict()`; they are copied now, and the last call counts.
        """
        self._session.save(model)
