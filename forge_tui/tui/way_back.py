"""Where Esc leads from each of the three screens: to where one came from, never round in circles."""

from __future__ import annotations

# Where there is nothing behind: a run stands in the list of runs.
_ABOVE = {"watch": "runs"}


class WayBack:
    """The screens that were gone through, each once; going to one of them goes back to it."""

    def __init__(self, first: str) -> None:
        """`first` is the screen that the app opens on."""
        self._stack = [first]

    def go(self, name: str) -> None:
        """Another screen is in front."""
        if name in self._stack:
            del self._stack[self._stack.index(name) + 1 :]
        else:
            self._stack.append(name)

    @property
    def behind(self) -> str | None:
        """The screen that Esc leads to; None on the first one."""
        return self._stack[-2] if len(self._stack) > 1 else _ABOVE.get(self._stack[-1])

    def back(self) -> str | None:
        """Go there."""
        found = self.behind
        if found is not None:
            self._stack[-2:] = [found]
        return found
