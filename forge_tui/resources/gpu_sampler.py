"""Reads the GPUs in a thread, because a driver may hang, and must not hang the program."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from forge_tui.resources.gpus import Gpu


class GpuAnswer(NamedTuple):
    """The GPUs as last read, and why they could not be read now, in words."""

    gpus: tuple[Gpu, ...]
    problem: str | None = None


class GpuSampler:
    """One reading at a time: while the driver does not answer, no second thread waits for it, and the last answer
    stays. Thread-safe.
    """

    def __init__(self, read: Callable[[], tuple[Gpu, ...]]) -> None:
        """`read` may raise; that is reported as a problem."""
        self._read = read
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._answer = GpuAnswer(())

    def remember(self, gpus: tuple[Gpu, ...]) -> None:
        """Set the last answer, before the first reading."""
        self._answer = GpuAnswer(gpus)

    def begin(self) -> None:
        """Start a reading, unless one is under way."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, name="forge-tui-gpus", daemon=True)
                self._thread.start()

    def result(self, deadline: float) -> GpuAnswer:
        """The answer of the reading, or the last one with a problem if it does not come until `deadline`
        (`time.monotonic`); waits 10 ms at least.
        """
        thread = self._thread
        if thread is not None:
            thread.join(max(0.01, deadline - time.monotonic()))
            if thread.is_alive():
                return GpuAnswer(self._answer.gpus, "the driver did not answer in time")
        return self._answer

    def _look(self) -> None:
        try:
            self._answer = GpuAnswer(self._read())
        except Exception as error:  # a boundary: reported as a problem, limits nothing
            self._answer = GpuAnswer(self._answer.gpus, f"{type(error).__name__}: {error}")
