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
from forge_tui.training.attached_files import Files
from forge_tui.training.trial_session import TrialSession

__all__ = ["Trial"]


class Trial:
    """One model of a run, trained by a function that is called as `train(trial)`.

    The generators of Python, NumPy and torch are seeded with `seed` before the call. `errors.TrialError` reports a
    mistake in a call; a full disk or a stop is handled here.
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
        """The model's seed: `run.seed` plus its place among the seeds of its config."""
        return self._session.job.seed

    @property
    def attempt(self) -> int:
        """Which attempt at the model this is, from 1."""
        return self._session.job.attempt

    @property
    def epochs(self) -> int:
        """The requested number of epochs (`--epochs`)."""
        return self._session.epochs

    @property
    def device(self) -> torch.device:
        """Where to train."""
        return self._session.device

    @property
    def threads(self) -> int:
        """The number of threads of this process, by the resource rules; torch uses as many."""
        return self._session.job.threads

    @property
    def directory(self) -> Path:
        """A directory for this model's files: kept for later attempts, and deleted with the run."""
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
        """Whether the function should save a checkpoint and return, for loops that check instead of catching."""
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

        Metrics are numbers, NumPy scalars, or tensors of shape (). Names have 1–100 printable characters; a run has
        at most 200. Names of built-in metrics (`loss`, `validation_loss`, `validation_accuracy` …) keep their meaning.
        `epoch` counts from 1; without it the reports are counted. A repeated epoch replaces the earlier report of it.
        `step`: optimizer steps so far. `goal` declares which values of a metric are better; once is enough:
        `goal={"f1": "higher"}`.

        While the run is paused, this waits. Raises `TrialStopped` if the function must end now, and `TrialError` for
        invalid arguments. A `loss` that is NaN or infinite fails the model; other such metrics are recorded as unknown.
        """
        self._session.report({} if metrics is None else metrics, more, epoch=epoch, step=step, goal=goal)

    def checkpoint(self, state: Mapping[Any, Any], epoch: int | None = None, *, files: Files = ()) -> bool:
        """Save `state` and all random states, for `restore` after a kill, a stop or a failure.

        `state` is a nested dict with str or int keys, of tensors, NumPy arrays, numbers, strings, booleans, None, lists
        and tuples; any `state_dict()` is one. It becomes one file of safetensors and JSON, written atomically. `epoch`:
        the epoch it belongs to; by default the last one reported.

        `files`: a path in `directory`, or several, of files and directories that belong to the checkpoint, such as
        those that a framework has written. They are made durable first, and `restore` passes over a checkpoint whose
        files are not there with the same content. None of them is deleted: those of the last `run.keep_checkpoints`
        checkpoints have to stay.

        Returns whether the checkpoint was written: a failing disk is reported, and training continues. Raises
        `TrialStopped` after the file is written if a stop was requested, and `TrialError` for any other value, naming
        its place.
        """
        return self._session.checkpoint(state, epoch, files)

    def restore(self) -> dict[str | int, Any] | None:
        """The newest state given to `checkpoint` whose file verifies; None at the start of a model.

        Values have the same types as when saved. Also restores the random states.
        """
        found: dict[str | int, Any] | None = self._session.restore()
        return found

    def save(self, model: nn.Module | Mapping[str, Tensor]) -> None:
        """Use these weights for the finished model: NAME.safetensors and NAME.json are written when the function ends.

        `model` is a module or its `state_dict()`, which is copied now; the last call counts.
        """
        self._session.save(model)
