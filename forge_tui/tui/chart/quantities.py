"""The quantities of a chart: losses, recorded metrics, learning rate. `v` steps through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from forge_tui.protocol.metrics import MetricTable
    from forge_tui.protocol.model_state import ModelState

Kind = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One choice of `v`: its title, its curves as (metric, kind), and those of them that are shown.

    `log`: whether its axis starts logarithmic; not for fractions.
    """

    title: str
    curves: tuple[tuple[str, Kind], ...]
    kinds: frozenset[Kind]
    log: bool = True

    @property
    def key(self) -> str:
        """Its name in the user's choices: that of its first metric."""
        return self.curves[0][0]


_LOSSES: tuple[tuple[str, Kind], ...] = (("loss", "train"), ("validation_loss", "validation"))
LOSS = Quantity("loss", _LOSSES, frozenset({"train", "validation"}))
TRAINING_LOSS = Quantity("loss", _LOSSES, frozenset({"train"}))
VALIDATION_LOSS = Quantity("loss", _LOSSES, frozenset({"validation"}))
_DRAWN = frozenset(metric for metric, _ in _LOSSES)
LOSSES = (LOSS, TRAINING_LOSS, VALIDATION_LOSS)


def recorded(models: Iterable[ModelState], table: MetricTable) -> tuple[Quantity, ...]:
    """The quantities of these models, in the order of `v`: the losses, and every metric that any has recorded.

    Without any record all losses; one of two losses by itself only where both are recorded.
    """
    names = _names(models)
    if not names or names.keys() >= _DRAWN:
        found = list(LOSSES)
    else:
        found = [LOSS] if _DRAWN & names.keys() else []
    for metric in table.ordered(names):
        if metric.name not in _DRAWN:
            kind: Kind = "validation" if metric.is_validation else "train"
            found.append(Quantity(metric.title, ((metric.name, kind),), frozenset({kind}), metric.log))
    return tuple(found)


def is_missing(quantity: Quantity, models: Iterable[ModelState]) -> bool:
    """Whether the models have recorded something, and nothing of this quantity."""
    names = _names(models)
    return bool(names) and names.keys().isdisjoint(metric for metric, _ in quantity.curves)


def _names(models: Iterable[ModelState]) -> dict[str, None]:
    """The metrics that any of the models has recorded, in their order."""
    return dict.fromkeys(name for model in models for name, value in model.metrics.items() if value is not None)


def pinned_first(quantities: Sequence[Quantity], pinned: Sequence[str]) -> tuple[Quantity, ...]:
    """The quantities, those with a `pinned` key first, in the order in which they were pinned."""
    order = {key: number for number, key in enumerate(pinned)}
    return tuple(sorted(quantities, key=lambda quantity: order.get(quantity.key, len(order))))


def following(now: Quantity, choices: Sequence[Quantity]) -> Quantity:
    """The choice after `now`; the first one after the last, or if `now` is not among them."""
    return choices[(choices.index(now) + 1) % len(choices)] if now in choices else choices[0]
