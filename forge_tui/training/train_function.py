"""The training function (`training.train`): its import and its arguments."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from forge_tui.errors import SettingsError
from forge_tui.settings.schema import Settings
from forge_tui.training import random_state
from forge_tui.training.own_code import CustomFunction, require_all_taken

FLAG = "--train"


class TrainFunction:
    """Called as `train(trial)`; further parameters get the values of `[model]` with their names.

    A function with no further parameters finds all values of `[model]` in `trial.params`; for any other, a value
    without a parameter is an error.
    """

    def __init__(self, settings: Settings) -> None:
        """Import it. Raises `SettingsError` if it cannot be found or imported, or if values do not fit."""
        # Random numbers drawn during the import are the same for all models, whatever was imported before.
        random_state.seed_everything(settings.run.seed)
        self._whole = CustomFunction(FLAG, settings.training.train, settings.run.python_path)
        self._values = settings.model
        first = self._whole.first_parameter
        if first is None:
            raise SettingsError(f"{self._whole} must take the trial as its first parameter: def train(trial, …)")
        if first in settings.model:
            raise SettingsError(f"model.{first}: the first parameter of {self._whole} is the trial; rename the value")
        others = self._whole.without_first()
        if others.takes != set():
            require_all_taken(settings.model, {FLAG: others})
        self._arguments = others.bound(settings.model)

    def __str__(self) -> str:
        return str(self._whole)

    @property
    def call(self) -> Callable[[Any], None]:
        """Call the function with the trial; its exceptions pass."""
        # A copy: the function may change a list in place.
        return lambda trial: self._whole.function(trial, **copy.deepcopy(self._arguments))
