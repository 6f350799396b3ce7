"""The groups of models that wait for a worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from forge_tui.runner.groups import Group


class GroupQueue:
    """First in, first out, except for groups that return to their place."""

    def __init__(self, groups: Iterable[Group] = ()) -> None:
        self._groups: deque[Group] = deque(groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Group]:
        """The groups, the next one first."""
        return iter(self._groups)

    def take(self, position: int = 0) -> Group:
        """Remove and return the next group, or the one at `position`. Raises `IndexError` if there is none."""
        group = self._groups[position]
        del self._groups[position]
        return group

    def put_first(self, *groups: Group) -> None:
        """Put these first, in this order, without empty ones."""
        self._groups.extendleft(group for group in reversed(groups) if group)

    def put_last(self, group: Group) -> None:
        """Put this one last."""
        self._groups.append(group)

    def put_back(self, group: Group) -> None:
        """Put it back before the first group of later models, unless it is empty."""
        if group:
            later = (place for place, other in enumerate(self._groups) if other[0] > group[0])
            self._groups.insert(next(later, len(self._groups)), group)

    def remove(self, index: int) -> None:
        """Remove one model from its group."""
        self._groups = deque(rest for group in self._groups if (rest := tuple(i for i in group if i != index)))
