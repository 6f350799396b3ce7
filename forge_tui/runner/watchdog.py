"""Finds workers that hang: no step, no checkpoint, no sign of life for a configurable time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

# How long a worker has to say where it hangs; one that is stopped, or stuck in native code, never answers.
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
        """The worker got on."""
        self.alive_at, self.asked_at = now, None

    def look(self, now: float, *, waits: bool) -> HangVerdict:
        """First a worker that hangs is asked where it is, then it is ended. One that is to wait does not hang."""
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
        """It has said where it hangs: nothing more to wait for."""
        if self.asked_at is not None:
            self.asked_at -= _ANSWER_SECONDS
