"""What a failed attempt at a model leads to. Pure: the scheduler carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from forge_tui.protocol.events import ModelFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """`retry`: it is tried again; `counts`: that uses up one of its retries; `shrink`: with fewer workers at once;
    `split`: in smaller groups; `lower_rate`: from the last good checkpoint with a lower learning rate."""

    retry: bool
    counts: bool = True
    shrink: bool = False
    split: bool = False
    lower_rate: bool = False


def consequence(
    failure: ModelFailed,
    *,
    earlier: int,
    allowed: int,
    beside: int,
    ending: bool,
    lowers_rate: bool,
    members: int = 1,
    goes_further: bool = False,
) -> Consequence:
    """What follows from `failure`.

    `earlier`: failures of the model since its newest checkpoint, of divergences those since it was last beyond one,
    this one not counted; `allowed`: how many are ([run] max_retries); `beside`: workers that ran beside it; `ending`:
    the run is being ended; `lowers_rate`: what the settings say of divergence; `members`: how many models its worker
    had; `goes_further`: after a divergence it would go back further than the last time.
    """
    has_allowance = earlier < allowed
    if failure.kind == "node_lost":
        return Consequence(retry=not ending, counts=False)  # that says nothing against the model
    if failure.kind == "out_of_memory" and beside > 0:
        # It was not alone: with fewer at once it may well fit, so this says nothing against the model yet.
        return Consequence(retry=not ending, counts=False, shrink=True)
    if failure.kind == "out_of_memory" and members > 1:
        return Consequence(retry=not ending, counts=False, split=True)
    if failure.kind == "diverged":
        # Its steps are exactly repeatable: unchanged it would diverge again. To go back further is not to try the same
        # again: that costs no retry, and ends at the start.
        retry = lowers_rate and allowed > 0 and (goes_further or has_allowance) and not ending
        return Consequence(retry=retry, counts=not (lowers_rate and goes_further), lower_rate=lowers_rate)
    if failure.kind == "changed":
        return Consequence(retry=False)  # the next attempt would find the same
    return Consequence(retry=has_allowance and not ending)
