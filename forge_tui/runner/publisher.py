"""Gives finished models their final names, in a separate thread: the scheduler never waits for a disk."""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Callable
from queue import SimpleQueue

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.location import Location
from forge_tui.runs.results import Result, publish

Done = Callable[[RunDirectoryError | None], None]


class Publisher:
    """Publishes results in order, several at once if they wait. Close it."""

    def __init__(self, place: Location, selector: selectors.BaseSelector) -> None:
        """`place`: the run directory. Callbacks run in the thread that waits on `selector`."""
        self._place = place
        self._selector = selector
        self._waiting: SimpleQueue[tuple[Result, Done] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Done, RunDirectoryError | None]] = SimpleQueue()
        self._news, self._bell = os.pipe()
        os.set_blocking(self._news, False)
        selector.register(self._news, selectors.EVENT_READ, self._call_back)
        self._thread = threading.Thread(target=self._work, name="publish results", daemon=True)
        self._thread.start()

    def publish(self, result: Result, done: Done) -> None:
        """Give a result its final name in the background; then `done` is called, with the error if that failed."""
        self._waiting.put((result, done))

    def close(self, seconds: float = 5.0) -> None:
        """Publish waiting results, for up to `seconds`."""
        self._selector.unregister(self._news)
        self._waiting.put(None)
        self._thread.join(seconds)
        if not self._thread.is_alive():  # otherwise it is blocked by a disk: the process ends without it
            os.close(self._news)
            os.close(self._bell)

    def _work(self) -> None:
        is_open = True
        while is_open:
            asked = [self._waiting.get()]
            while not self._waiting.empty():
                asked.append(self._waiting.get())
            is_open = None not in asked
            results = [one for one in asked if one is not None]
            failed = publish(self._place.fileno(), [result for result, _ in results])
            for result, done in results:
                self._done.put((done, failed.get(result)))
            os.write(self._bell, b"!")

    def _call_back(self) -> None:
        os.read(self._news, 4096)
        while not self._done.empty():
            done, error = self._done.get()
            done(error)
