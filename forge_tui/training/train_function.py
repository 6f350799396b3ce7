"""The user's training function (`training.train`): imported, and given its arguments."""

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
    """Called as `train(trial)`; parameters beside the first one get the values of `[model]` that have their names.

    A function that takes nothing but the trial finds all values of `[model]` in `trial.params`; for any other, a value
    that no parameter asks for is an error.
    """

    def __init__(self, settings: Settings) -> None:
        """Imports it. Raises `SettingsError` for what cannot be found or imported, and for values that do not fit."""
        # What a module draws while it is imported is the same for all models, whatever was imported before it.
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
        """Calls it with the trial. What it raises is raised."""
        # A function may change a list in place; the run's setting stays.
        return lambda trial: self._whole.function(trial, **copy.deepcopy(self._arguments))
