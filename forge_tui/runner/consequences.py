"""The consequence of a failed attempt. Pure: the scheduler carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from forge_tui.protocol.events import ModelFailed

MOST_LOSSES = 5
"""A model that was lost with so many nodes, without a checkpoint in between, may be what brings them down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """`retry`: the model is retried; `counts`: this uses up one of its retries; `shrink`: with fewer workers at once;
    `split`: in smaller groups; `lower_rate`: from the last good checkpoint with a lower learning rate. After a lack of
    a device's memory, `thin`: with fewer workers on that device; `elsewhere`: on one with more memory.
    """

    retry: bool
    counts: bool = True
    shrink: bool = False
    split: bool = False
    thin: bool = False
    elsewhere: bool = False
    lower_rate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDevice:
    """A device without room: workers of this run `beside` on it; whether there is one with more memory."""

    beside: int
    has_larger: bool


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
    on_device: OnDevice | None = None,
    losses: int = 0,
) -> Consequence:
    """The consequence of `failure`.

    `earlier`: earlier failures of the model since its newest checkpoint, for divergences since its last recovery;
    `allowed`: the limit ([run] max_retries); `beside`: workers that ran beside it; `ending`: the run is being ended;
    `lowers_rate`: the setting for divergence; `members`: models of its worker; `goes_further`: after a divergence it
    would return to an earlier checkpoint than last time; `on_device`: the device's memory, not the machine's, ran out,
    or it takes no further process; `losses`: nodes that the model was lost with since its newest checkpoint.
    """
    has_allowance = earlier < allowed
    if failure.kind == "device_lost" or (failure.kind == "node_lost" and losses < MOST_LOSSES):
        return Consequence(retry=not ending, counts=False)  # not the model's fault
    if on_device is not None:
        if on_device.beside > 0:
            return Consequence(retry=not ending, counts=False, thin=True)
        if members == 1 and on_device.has_larger:
            return Consequence(retry=not ending, counts=False, elsewhere=True)
        beside = 0
    if failure.kind == "out_of_memory" and beside > 0:
        # With fewer workers it may fit, so this does not count against the model.
        return Consequence(retry=not ending, counts=False, shrink=True)
    if failure.kind == "out_of_memory" and members > 1:
        return Consequence(retry=not ending, counts=False, split=True)
    if failure.kind == "diverged":
        # Its steps are exactly repeatable: unchanged it would diverge again. Returning to an earlier checkpoint is
        # not the same attempt: it costs no retry, and ends at the start.
        retry = lowers_rate and allowed > 0 and (goes_further or has_allowance) and not ending
        return Consequence(retry=retry, counts=not (lowers_rate and goes_further), lower_rate=lowers_rate)
    if failure.kind == "changed":
        return Consequence(retry=False)  # the next attempt would fail in the same way
    return Consequence(retry=has_allowance and not ending)
