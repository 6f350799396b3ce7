"""Checks what a training function or a command reports, and converts it to plain numbers.

Neither torch nor NumPy is imported: their scalars are known by `ndim` and `item`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge_tui.errors import TrialError
from forge_tui.protocol.metrics import BUILT_IN, LONGEST_NAME, SHARE, Metric
from forge_tui.safe_io.printing import escaped
from forge_tui.safe_io.strict_json import LARGEST_INTEGER

_RESERVED = {metric.name: metric for metric in BUILT_IN}
_SHOWN = 60


def plain_metrics(*given: Mapping[str, Any], caller: str = "trial.report") -> dict[str, float]:
    """The metrics of a report as numbers, including NaN and infinity.

    Raises `TrialError` for anything else, whose message names the `caller`.
    """
    found: dict[str, float] = {}
    for table in given:
        if not isinstance(table, Mapping):
            raise TrialError(f"{caller} takes metrics by name, as {{'loss': 0.5}}, and got {_kind(table)}")
        for name, value in table.items():
            if name in found:
                raise TrialError(f"{caller} got the metric {escaped(name)} twice")
            found[_checked_name(name)] = _number(name, value)
    return found


def checked_goals(goals: Mapping[str, Any] | None) -> list[Metric]:
    """The declarations in the `goal` of a report. Raises `TrialError`."""
    if goals is None:
        return []
    if not isinstance(goals, Mapping):
        raise TrialError(f"goal names metrics, as {{'f1': 'higher'}}, and is {_kind(goals)}")
    found = []
    for name, goal in goals.items():
        _checked_name(name)
        if goal not in ("higher", "lower"):
            raise TrialError(f"goal of {name}: must be 'higher' or 'lower', not {str(goal)[:_SHOWN]!r}")
        reserved = _RESERVED.get(name)
        if reserved is None:
            found.append(Metric(name=name, title=name, short=name, goal=goal))
        elif reserved.goal != goal:
            raise TrialError(f"goal of {name}: that name is reserved ({reserved.goal or 'no goal'})")
    return found


def whole(value: Any, what: str, least: int) -> int:
    """A whole number, also NumPy's or a tensor. Raises `TrialError`, which calls it `what`."""
    value = _plain(value)
    if type(value) is not int or not least <= value <= LARGEST_INTEGER:
        raise TrialError(f"{what} must be a whole number, at least {least}, not {str(value)[:_SHOWN]!r}")
    return int(value)


def _checked_name(name: Any) -> str:
    if type(name) is not str or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise TrialError(
            f"{str(name)[:LONGEST_NAME]!r} cannot be the name of a metric: names are texts of 1 to {LONGEST_NAME} "
            "printable characters"
        )
    return name


def _number(name: str, value: Any) -> float:
    given, value = value, _plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TrialError(f"the metric {name} is {_kind(given)}; metrics are numbers, or tensors of shape ()")
    try:
        number = float(value)
    except OverflowError:
        raise TrialError(f"the metric {name} is too large a number") from None
    reserved = _RESERVED.get(name)
    if reserved is not None and reserved.unit == SHARE and (number < 0 or number > 1):
        raise TrialError(f"the metric {name} is a share, from 0 to 1, and {number:g} is none")
    return number


def _plain(value: Any) -> Any:
    """The number in a scalar of NumPy or torch; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _kind(value: Any) -> str:
    if getattr(value, "ndim", 0) and hasattr(value, "shape"):
        return f"a {type(value).__qualname__} of shape {tuple(value.shape)}"
    return f"a {type(value).__qualname__}"
