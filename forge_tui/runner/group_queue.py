"""The groups of models that wait for a worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from forge_tui.runner.groups import Group


class GroupQueue:
    """First in, first out, but for those that go back to where they were."""

    def __init__(self, groups: Iterable[Group] = ()) -> None:
        self._groups: deque[Group] = deque(groups)

    def __len__(self) -> int:
        return len(self._groups)

    def take(self) -> Group:
        """The next one. Raises `IndexError` where there is none."""
        return self._groups.popleft()

    def put_first(self, *groups: Group) -> None:
        """These are next, in this order; empty ones are left out."""
        self._groups.extendleft(group for group in reversed(groups) if group)

    def put_last(self, group: Group) -> None:
        """All others come before this one."""
        self._groups.append(group)

    def put_back(self, group: Group) -> None:
        """It is again before the first group of later models; an empty one is left out."""
        if group:
            later = (place for place, other in enumerate(self._groups) if other[0] > group[0])
            self._groups.insert(next(later, len(self._groups)), group)

    def remove(self, index: int) -> None:
        """Take one model out of its group."""
        self._groups = deque(rest for group in self._groups if (rest := tuple(i for i in group if i != index)))
