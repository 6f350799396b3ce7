"""How many workers may run at once, from the resource rules and from what workers really cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

GIB = 1 << 30


class Governor:
    """Admits workers.

    `slots` is the most that may run at once by the resource rules. With `measured` each further worker is also
    admitted only while memory suffices for it: `estimate` (bytes) counts until a first worker has told what it really
    cost, and `margin` is added to either. `available` gives the memory that may still be used (bytes).
    """

    def __init__(
        self,
        slots: int,
        *,
        measured: bool,
        estimate: int,
        available: Callable[[], int],
        margin: float = 0.2,
    ) -> None:
        self.slots = slots
        self._measured = measured
        self._cost = estimate
        self._is_estimate = True
        self._available = available
        self._margin = margin

    def measured(self, cost: int) -> None:
        """Take in what a worker cost at its peak (bytes); the largest counts."""
        self._cost = cost if self._is_estimate else max(self._cost, cost)
        self._is_estimate = False

    def shrink(self, running: int) -> int:
        """Fewer at once after a worker ran out of memory while `running` others went on; return the new number."""
        self.slots = max(1, min(self.slots - 1, running))
        return self.slots

    def hold(self, costs: Sequence[int | None]) -> str | None:
        """Why no further worker may start now, or None if one may; empty when simply all slots are taken.

        `costs`: what each running worker has told it costs (bytes), None where it has not yet. One worker may
        always run.
        """
        if len(costs) >= self.slots:
            return ""
        if not costs or not self._measured:
            return None
        needed = self._cost * (1.0 + self._margin)
        # Running workers that have not reached their peak will still grow into it.
        growth = sum(max(0.0, needed - (cost or 0)) for cost in costs)
        available = self._available()
        if available - growth >= needed:
            return None
        source = "estimated" if self._is_estimate else "measured"
        return (
            f"{len(costs)} at once: a further worker needs {needed / GIB:.2f} GiB ({source}, with a margin of "
            f"{self._margin:.0%}), and {max(0.0, available - growth) / GIB:.2f} GiB of memory are left"
        )
