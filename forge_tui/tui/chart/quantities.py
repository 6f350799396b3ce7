"""What a chart can draw: the losses, every metric that was recorded, and the learning rate. `v` steps through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from forge_tui.text.figures import metric_name

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import ModelState

Kind = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One choice of `v`: its title, its curves as (column of the epochs, kind), and those of them that are shown.

    `log`: whether its axis begins logarithmic, which shares and rates of success do not.
    """

    title: str
    curves: tuple[tuple[str, Kind], ...]
    kinds: frozenset[Kind]
    log: bool = True


_LOSSES: tuple[tuple[str, Kind], ...] = (("loss", "train"), ("validation_loss", "validation"))
LOSS = Quantity("loss", _LOSSES, frozenset({"train", "validation"}))
TRAINING_LOSS = Quantity("loss", _LOSSES, frozenset({"train"}))
VALIDATION_LOSS = Quantity("loss", _LOSSES, frozenset({"validation"}))
LOSSES = (LOSS, TRAINING_LOSS, VALIDATION_LOSS)


def _one(column: str, title: str, kind: Kind, log: bool) -> tuple[str, Quantity]:
    return column, Quantity(title, ((column, kind),), frozenset({kind}), log)


_METRIC = "validation_metric"
_MEASURED = (
    _one("validation_accuracy", "accuracy", "validation", False),
    _one("validation_perplexity", "perplexity", "validation", True),
    _one(_METRIC, "metric", "validation", False),
    _one("learning_rate", "learning rate", "train", True),
)


def recorded(models: Iterable[ModelState]) -> tuple[Quantity, ...]:
    """What can be drawn of these models, in the order of `v`: the losses, and what any of them has recorded."""
    known = list(models)
    found: list[Quantity] = list(LOSSES)
    for column, quantity in _MEASURED:
        having = next((each for each in known if getattr(each, column) is not None), None)
        if having is not None:
            found.append(replace(quantity, title=metric_name(having)) if column == _METRIC else quantity)
    return tuple(found)


def following(now: Quantity, choices: Sequence[Quantity]) -> Quantity:
    """The choice after `now`; the first one after the last, and where `now` is none of them."""
    return choices[(choices.index(now) + 1) % len(choices)] if now in choices else choices[0]
