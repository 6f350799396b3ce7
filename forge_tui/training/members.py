"""The models of one attempt: a group, or a single one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import overload

from forge_tui.protocol.job import Job
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.training.failures import Diverged
from forge_tui.training.finished import is_finished
from forge_tui.training.group_state import GroupState
from forge_tui.training.member import Member

Left = Callable[[Job, Diverged | None], None]
"""Called with a model that leaves its group early, and the error that ended it; None: completed or cancelled."""


class Members(Sequence[Member]):
    """The models by number, as in the training state; leaving ones are removed from both."""

    def __init__(self, members: Iterable[Member], left: Left | None) -> None:
        self._members = list(members)
        self._left = left
        names = [member.job.model for member in self._members]
        self.group = names if len(names) > 1 else None
        """The names of all models at the start of the attempt; None for a single one."""

    @overload
    def __getitem__(self, place: int) -> Member: ...

    @overload
    def __getitem__(self, place: slice) -> list[Member]: ...

    def __getitem__(self, place: int | slice) -> Member | list[Member]:
        return self._members[place]

    def __len__(self) -> int:
        return len(self._members)

    def skip_finished(self) -> None:
        """Remove models that an earlier attempt has finished, and send their missing reports."""
        self._members = [member for member in self._members if not is_finished(member)]

    def enter(self, phase: TrainingPhase, reason: str | None = None, only: Iterable[int] | None = None) -> None:
        """Report a new phase of all models, or of `only` these numbers."""
        for number in range(len(self._members)) if only is None else only:
            self._members[number].report.enter(phase, reason)

    def move(self, directory: str) -> None:
        """Set the new path of the run directory."""
        for member in self._members:
            member.move(Path(directory))

    def numbers(self, indexes: set[int]) -> list[int]:
        """The numbers of the models with these indexes."""
        return [number for number, member in enumerate(self._members) if member.job.index in indexes]

    def remove(self, state: GroupState, number: int, why: Diverged | None) -> None:
        """Remove a model from the group."""
        member = self._members.pop(number)
        state.remove(number)
        if self._left is not None:
            self._left(member.job, why)
