"""Gives finished models their final names, in a separate thread: the scheduler never waits for a disk."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from queue import SimpleQueue

from forge_tui.engines.file_thread import FileThread
from forge_tui.errors import RunDirectoryError
from forge_tui.runs.location import Location
from forge_tui.runs.results import Result, publish

Done = Callable[[RunDirectoryError | None], None]


class Publisher:
    """Publishes results in order, several at once if they wait. Close it."""

    def __init__(self, place: Location, selector: selectors.BaseSelector) -> None:
        """`place`: the run directory. Callbacks run in the thread that waits on `selector`."""
        self._place = place
        self._waiting: SimpleQueue[tuple[Result, Done]] = SimpleQueue()
        self._files = FileThread(selector)

    def publish(self, result: Result, done: Done) -> None:
        """Give a result its final name in the background; then `done` is called, with the error if that failed."""
        self._waiting.put((result, done))
        self._files.do(self._publish_waiting, _report)

    def close(self, seconds: float = 5.0) -> None:
        """Publish waiting results, for up to `seconds`."""
        self._files.close(seconds)

    def _publish_waiting(self) -> list[tuple[Done, RunDirectoryError | None]]:
        """Publish all that wait now; the calls for the others of them then find nothing."""
        asked = []
        while not self._waiting.empty():
            asked.append(self._waiting.get())
        failed = publish(self._place.fileno(), [result for result, _ in asked]) if asked else {}
        return [(done, failed.get(result)) for result, done in asked]


def _report(found: list[tuple[Done, RunDirectoryError | None]] | OSError) -> None:
    assert not isinstance(found, OSError)  # `publish` returns an error per result
    for done, error in found:
        done(error)
