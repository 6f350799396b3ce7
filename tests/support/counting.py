"""How much work something is: counted, because how long it takes says nothing on a machine that others use too."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

_QUERIES = frozenset({"execute", "executemany", "executescript", "fetchone", "fetchall"})


@dataclass(slots=True)
class Work:
    """Calls of functions, C's included, and queries of databases; each row of a table that is read counts as a call."""

    calls: int = 0
    queries: int = 0
    names: dict[str, int] = field(default_factory=dict)
    """How often each function of Python's was called."""

    def begin(self) -> None:
        """Count from here on what the calling thread does."""
        sys.setprofile(self._take)

    def end(self) -> None:
        """Count no more."""
        sys.setprofile(None)

    def _take(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.calls += 1
            name = frame.f_code.co_qualname
            self.names[name] = self.names.get(name, 0) + 1
        elif event == "c_call":
            self.calls += 1
            self.queries += argument.__name__ in _QUERIES


@contextlib.contextmanager
def counted() -> Iterator[Work]:
    """The work of the calling thread in the block."""
    work = Work()
    work.begin()
    try:
        yield work
    finally:
        work.end()


def most_grown(small: Work, large: Work, times: float) -> str:
    """The functions whose calls have grown by more than `times`, for a failed test to name."""
    grown = {
        name: (small.names.get(name, 0), calls)
        for name, calls in large.names.items()
        if calls > times * small.names.get(name, 0) + 10
    }
    return "\n".join(f"{name}: {before} -> {after}" for name, (before, after) in sorted(grown.items()))


def growth(work_of: Callable[[int], Work], models: int, times: float) -> str | None:
    """What is wrong where twice as many models take more than `times` the calls or queries; None: nothing."""
    small, large = work_of(models), work_of(2 * models)
    if large.calls <= times * small.calls and large.queries <= times * small.queries + 2:
        return None
    return (
        f"{models} models: {small.calls} calls, {small.queries} queries; {2 * models}: {large.calls}, {large.queries}\n"
        f"{most_grown(small, large, times)}"
    )
