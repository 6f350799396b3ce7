"""How long a run waits until it tries more workers again. Pure: the clock is handed in."""

from __future__ import annotations

# A growth that was taken back sooner than this makes the next one wait twice as long, and no wait gets longer: every
# worker that is taken back costs a start, and one that ran out of memory the steps since its checkpoint too.
LONGEST_WAIT = 900.0


class Patience:
    """How long all has to be well before more are tried: `seconds`, twice as long whenever that did not hold."""

    def __init__(self, seconds: float) -> None:
        self.seconds = self._first = seconds
        self._grew_at: float | None = None

    def grew(self, now: float) -> None:
        """More were tried."""
        self._grew_at = now

    def fell(self, now: float) -> None:
        """Fewer have to do."""
        if self._grew_at is not None:
            held = now - self._grew_at >= LONGEST_WAIT
            self.seconds = self._first if held else min(2 * self.seconds, LONGEST_WAIT)
        self._grew_at = None
