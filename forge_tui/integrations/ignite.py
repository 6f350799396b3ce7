"""Ignite: a handler that reports the epochs of an `Engine`, and keeps the state of what it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint

from forge_tui.errors import TrialError
from forge_tui.integrations.reporting import Goal, report
from forge_tui.training import random_state
from forge_tui.training.trial import Trial

_ENGINE = "engine"


class Report:
    """Reports every epoch to `trial`, saves `to_save`, and ends the engine's run when the trial is to stop.

    `to_save`: what has a `state_dict`, by name, as for Ignite's own `Checkpoint`; the engine is added. Its states are
    saved by `Trial.checkpoint`, and nothing is pickled. The metrics of the engine keep their names; those of
    `evaluators` are named after both: `validation_loss` of `{"validation": evaluator}`. `names` gives others, `goal` is
    as in `Trial.report`.
    """

    def __init__(
        self,
        trial: Trial,
        to_save: Mapping[str, Any],
        *,
        evaluators: Mapping[str, Engine] | None = None,
        names: Mapping[str, str] | None = None,
        goal: Goal | None = None,
    ) -> None:
        if _ENGINE in to_save:
            raise TrialError(f"to_save has the name {_ENGINE!r}, which the engine itself is saved under")
        self._trial, self._to_save, self._names, self._goal = trial, dict(to_save), names, goal
        self._evaluators = dict(evaluators or {})
        self._random: dict[str, Any] | None = None

    def attach(self, engine: Engine) -> None:
        """Restore the newest checkpoint, if there is one, and follow the engine.

        Attach it last: handlers that are attached later run after the checkpoint of an epoch.
        """
        state: Any = self._trial.restore()
        if state is not None:
            Checkpoint.load_objects({**self._to_save, _ENGINE: engine}, state)
            self._random = random_state.capture(self._trial.device)
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: self._trial.should_stop)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)

    def _begin(self) -> None:
        """Restore the random states: the data's order is drawn next."""
        if self._random is not None:
            random_state.restore(self._random, self._trial.device)

    def _end_epoch(self, engine: Engine) -> None:
        metrics = dict(engine.state.metrics)
        for evaluator_name, evaluator in self._evaluators.items():
            metrics |= {f"{evaluator_name}_{name}": value for name, value in evaluator.state.metrics.items()}
        epoch = engine.state.epoch
        report(
            self._trial, metrics, names=self._names, goal=self._goal, epoch=epoch, step=engine.state.iteration,
            saves=True,
        )  # fmt: skip
        saved = {name: item.state_dict() for name, item in {**self._to_save, _ENGINE: engine}.items()}
        self._trial.checkpoint(saved, epoch)
