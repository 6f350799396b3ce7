"""A thread of the runner that reads and writes files, so that scheduling never waits for a disk."""

from __future__ import annotations

import os
import queue
import selectors
import threading
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


class FileThread:
    """Carries out work in order; the results are handled in the thread that waits on `selector`. Close it."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._news, self._bell = os.pipe()
        os.set_blocking(self._news, False)
        selector.register(self._news, selectors.EVENT_READ, self._call_back)
        self._thread = threading.Thread(target=self._work, name="files", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], _Result], then: Callable[[_Result | OSError], None]) -> None:
        """Do `work` in the thread; then `then` gets its result, or the error that it raised."""

        def carry_out() -> None:
            result: _Result | OSError
            try:
                result = work()
            except OSError as error:
                result = error
            self._done.put(lambda: then(result))

        self._asked.put(carry_out)

    def close(self, seconds: float = 5.0) -> None:
        """End the thread after what was asked for, within `seconds`."""
        self._selector.unregister(self._news)
        self._asked.put(None)
        self._thread.join(seconds)
        if not self._thread.is_alive():  # otherwise it is blocked by a disk: the process ends without it
            os.close(self._news)
            os.close(self._bell)

    def _work(self) -> None:
        while (work := self._asked.get()) is not None:
            work()
            os.write(self._bell, b"!")

    def _call_back(self) -> None:
        os.read(self._news, 4096)
        while not self._done.empty():
            self._done.get()()
