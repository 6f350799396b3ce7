"""When to read curves again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge_tui.protocol.model_state import ModelState

# Reading the curves of a long run takes at most this fraction of the time: 100,000 epochs take half a second.
_SHARE = 50.0


class Pace:
    """After a change of the models or of what is wanted of them, and for at most a fiftieth of the time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._models: tuple[ModelState, ...] = ()
        self._wanted: Hashable = None
        self._next = -math.inf
        self._asked = False

    def ask(self) -> None:
        """Read at the next opportunity, changed or not."""
        self._asked = True

    def is_due(self, models: Sequence[ModelState], wanted: Hashable) -> bool:
        """Whether to read now; if so, it counts as read."""
        # Unchanged models are the same objects in two snapshots.
        unchanged = [*map(id, models)] == [*map(id, self._models)]
        waits = unchanged or self._clock() < self._next
        if waits and not self._asked and wanted == self._wanted:
            return False
        self._asked, self._wanted, self._models = False, wanted, tuple(models)
        return True

    def took(self, seconds: float) -> None:
        """Record how much CPU time a reading took: a single slow one must not delay the next ones for minutes."""
        self._next = self._clock() + _SHARE * seconds

    def forget(self) -> None:
        """Forget what was read: the run no longer exists."""
        self._models, self._wanted = (), None
