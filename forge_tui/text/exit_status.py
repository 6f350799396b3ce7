"""How a process ended, in words."""

from __future__ import annotations

import signal


def exit_in_words(status: int | None) -> str:
    """How a process ended, from its exit status (negative: a signal)."""
    if status is not None and status < 0:
        named = -status in {*signal.Signals}  # most real-time signals have no name
        return f"was killed by {signal.Signals(-status).name if named else f'signal {-status}'}"
    return f"ended with status {status}"
