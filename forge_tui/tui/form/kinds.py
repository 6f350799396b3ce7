"""What a run trains: chosen first, and it decides which settings are shown."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from enum import StrEnum
from typing import Any

from forge_tui.settings.command import COMMAND
from forge_tui.settings.devices import PER_MODEL
from forge_tui.settings.own_names import named_function
from forge_tui.settings.replacement import Trains, replacement_of
from forge_tui.settings.training_function import MODEL_TYPE, NONE, TRAIN, is_function

KIND = "kind"
"""The name of the form's first row, which is no setting."""


class Kind(StrEnum):
    """What a run trains."""

    BUILT_IN = "built-in model"
    CUSTOM = "custom model"
    FUNCTION = "training function"
    COMMAND = "command"

    @property
    def setting(self) -> str:
        """The setting that names what is trained."""
        return {Kind.FUNCTION: TRAIN, Kind.COMMAND: COMMAND}.get(self, MODEL_TYPE)

    @property
    def trains(self) -> Trains:
        """What trains the models, as the settings know it."""
        return {Kind.FUNCTION: Trains.FUNCTION, Kind.COMMAND: Trains.COMMAND}.get(self, Trains.MODEL)

    @property
    def help(self) -> str:
        """What it is, in one line."""
        return _HELP[self]


_HELP = {
    Kind.BUILT_IN: "A network that comes with forge-tui, on your data or on made data",
    Kind.CUSTOM: "Your network, a function that returns a torch module, trained by the built-in loop",
    Kind.FUNCTION: "Your training loop, a function of a trial: any optimizer, any data, any library",
    Kind.COMMAND: "Any program, run once for each model: {seed} and keys of [model] are filled in",
}
_ONLY_FOR = {
    TRAIN: (Kind.FUNCTION,),
    COMMAND: (Kind.COMMAND,),
    "run.parse": (Kind.COMMAND,),
    "run.stop_seconds": (Kind.FUNCTION, Kind.COMMAND),
    **dict.fromkeys(PER_MODEL, (Kind.FUNCTION, Kind.COMMAND)),
}
"""Settings of some kinds only."""


_REPLACEMENTS = {
    Kind.FUNCTION: replacement_of("function.py", ()),
    Kind.COMMAND: replacement_of(NONE, ("command",)),
}


def hides(kind: Kind, name: str) -> bool:
    """Whether a setting plays no part for runs of this kind."""
    if kind not in _ONLY_FOR.get(name, Kind):
        return True
    found = _REPLACEMENTS.get(kind)
    return found is not None and found.is_unused(name)


def kind_after(kind: Kind, given: Container[str], values: Callable[[str], Iterable[Any]]) -> Kind:
    """What is trained after settings were `given`; `kind` before. `values` returns all values of a setting."""
    if COMMAND in given and any(map(bool, values(COMMAND))):
        return Kind.COMMAND
    if TRAIN in given and any(is_function(str(value)) for value in values(TRAIN)):
        return Kind.FUNCTION
    if MODEL_TYPE in given:
        own = any(named_function(str(value)) is not None for value in values(MODEL_TYPE))
        return Kind.CUSTOM if own else Kind.BUILT_IN
    return kind


def missing(kind: Kind, name: str, values: Sequence[Any]) -> str | None:
    """What is wrong where a setting must name the code to train and does not, else None."""
    if name != kind.setting:
        return None
    if kind is Kind.COMMAND and any(isinstance(value, str) for value in values):
        return "a quotation mark is not closed"
    if kind is Kind.COMMAND and not any(map(bool, values)):
        return "write the program and its arguments, such as python train.py --seed {seed}"
    if kind is Kind.FUNCTION and NONE in values:
        return "choose the function: Enter lists those of a file"
    if kind is Kind.CUSTOM and not any(named_function(str(value)) for value in values):
        return "choose the function that makes the network: Enter lists those of a file"
    return None
