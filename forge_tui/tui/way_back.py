"""The history of the three screens for Esc: back to the previous one, never in circles."""

from __future__ import annotations

# Without history: from a run to the list of runs.
_ABOVE = {"watch": "runs"}


class WayBack:
    """The visited screens, each once; visiting one again goes back to it."""

    def __init__(self, first: str) -> None:
        """`first` is the screen that the app opens on."""
        self._stack = [first]

    def go(self, name: str) -> None:
        """Record that another screen is in front."""
        if name in self._stack:
            del self._stack[self._stack.index(name) + 1 :]
        else:
            self._stack.append(name)

    @property
    def behind(self) -> str | None:
        """The screen that Esc leads to; None on the first one."""
        return self._stack[-2] if len(self._stack) > 1 else _ABOVE.get(self._stack[-1])

    def back(self) -> str | None:
        """Go back to that screen."""
        found = self.behind
        if found is not None:
            self._stack[-2:] = [found]
        return found
