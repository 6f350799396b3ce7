"""Finds workers that hang: no step, no checkpoint, no sign of life for a configurable time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

# How long a worker has to report where it hangs; one that is stopped, or stuck in native code, never answers.
_ANSWER_SECONDS = 2.0


class HangVerdict(Enum):
    """What to do about a worker now."""

    FINE = "fine"
    ASK = "ask"
    END = "end"


@dataclass(slots=True)
class Watchdog:
    """Watches one worker; `patience` in seconds, None: for ever. Times are monotonic."""

    patience: float | None
    alive_at: float
    asked_at: float | None = None

    def sign_of_life(self, now: float) -> None:
        """Record a sign of life."""
        self.alive_at, self.asked_at = now, None

    def look(self, now: float, *, waits: bool) -> HangVerdict:
        """Check the worker: a hanging one is first asked where it is, then ended. A worker that `waits` never hangs."""
        if self.patience is None:
            return HangVerdict.FINE
        if waits:
            self.sign_of_life(now)
        if now - self.alive_at < self.patience:
            return HangVerdict.FINE
        if self.asked_at is None:
            self.asked_at = now
            return HangVerdict.ASK
        return HangVerdict.END if now - self.asked_at >= _ANSWER_SECONDS else HangVerdict.FINE

    def answered(self) -> None:
        """Record that it has reported where it hangs."""
        if self.asked_at is not None:
            self.asked_at -= _ANSWER_SECONDS
