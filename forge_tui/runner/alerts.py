"""Warnings during a run: a model that has become slow, a disk that fills or fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forge_tui.protocol import events as happened
from forge_tui.safe_io.printing import say
from forge_tui.text.figures import memory

_SECONDS = 5.0
_IN_A_ROW = 2
_SLOW = 0.5
# Space for the next checkpoint of every active model, and as much again for other files.
_CHECKPOINTS_AHEAD = 2
# The database's write-ahead log grows to 4 MiB before a checkpoint; without that space the warning is lost too.
HISTORY_BYTES = 8 << 20


@dataclass(slots=True)
class _Window:
    """The current measurement of one model, and its best rate so far (steps per second)."""

    steps: float = 0.0
    seconds: float = 0.0
    best: float = 0.0
    slow: int = 0


class SpeedWatch:
    """Warns once when a model's steps per second fall below half of its best, and again after it has recovered.

    Rates are measured over at least five seconds of training, and two in a row must be slow: a short burst of others'
    work does not count.
    """

    def __init__(self) -> None:
        self._windows: dict[int, _Window] = {}

    def forget(self, index: int) -> None:
        """Discard the model's current measurement, after a restart."""
        window = self._windows.get(index)
        if window is not None:
            window.steps = window.seconds = 0.0

    def take(self, event: happened.EpochFinished) -> happened.ResourceWarned | None:
        """The warning after an epoch, if any."""
        speed = event.metrics.get("steps_per_second")
        if speed is None or not event.seconds:
            return None
        window = self._windows.setdefault(event.index, _Window())
        window.steps += speed * event.seconds
        window.seconds += event.seconds
        if window.seconds < _SECONDS:
            return None
        rate, window.steps, window.seconds = window.steps / window.seconds, 0.0, 0.0
        window.best = max(window.best, rate)
        if rate >= _SLOW * window.best:
            window.slow = 0
            return None
        window.slow += 1
        if window.slow != _IN_A_ROW:
            return None
        return happened.ResourceWarned(
            time=event.time,
            kind="speed",
            message=f"{event.model} makes {rate:.1f} steps/s, less than half of its earlier {window.best:.1f}",
            value=rate,
            threshold=_SLOW * window.best,
        )


class DiskWatch:
    """Warns once when the run directory's disk has no space for the next checkpoints, and again after it had."""

    def __init__(self, directory: Path, free: Callable[[Path], int] | None = None) -> None:
        self._directory = directory
        self._free = free or _free_bytes
        self._largest = 0
        self._told = False

    def checkpoint(self, size: int) -> None:
        """Record that a checkpoint of `size` bytes was written."""
        self._largest = max(self._largest, size)

    def look(self, now: float, models: int) -> happened.ResourceWarned | None:
        """The warning about the free space, if any. `models`: active ones; `now`: UNIX seconds."""
        if not self._largest:
            return None
        needed = _CHECKPOINTS_AHEAD * self._largest * max(1, models) + HISTORY_BYTES
        try:
            free = self._free(self._directory)
        except OSError:
            return None  # the next write reports the disk's error
        if free >= needed:
            self._told = False
            return None
        if self._told:
            return None
        self._told = True
        return happened.ResourceWarned(
            time=now,
            kind="disk",
            message=f"{memory(free)} are left on the disk of {self._directory}; the next checkpoints and the history "
            f"need about {memory(needed)}: free some space",
            value=float(free),
            threshold=float(needed),
        )


class HistoryWatch:
    """Reports in this process's log that nothing is being recorded: once per problem."""

    def __init__(self) -> None:
        self._told = False

    def look(self, problem: str | None) -> None:
        """`problem`: why nothing can be written now, or None."""
        if problem is not None and not self._told:
            say(problem)
        self._told = problem is not None


def _free_bytes(directory: Path) -> int:
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize
