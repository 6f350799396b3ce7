"""How long a run waits before it tries more workers again. Pure: the clock is passed in."""

from __future__ import annotations

# A growth that is reverted sooner than this doubles the next wait, which never gets longer than this: each removed
# worker costs a start, and one that ran out of memory also the steps since its checkpoint.
LONGEST_WAIT = 900.0


class Patience:
    """The quiet time before more workers are tried: `seconds`, doubled after each failed growth."""

    def __init__(self, seconds: float) -> None:
        self.seconds = self._first = seconds
        self._grew_at: float | None = None

    def grew(self, now: float) -> None:
        """Record a growth."""
        self._grew_at = now

    def fell(self, now: float) -> None:
        """Record a reduction."""
        if self._grew_at is not None:
            held = now - self._grew_at >= LONGEST_WAIT
            self.seconds = self._first if held else min(2 * self.seconds, LONGEST_WAIT)
        self._grew_at = None
