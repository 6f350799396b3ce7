"""`--after RUN`: a run that waits until another one has ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from forge_tui.errors import RunDirectoryError, UsageError
from forge_tui.runs import registry
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import is_locked


def predecessor(after: str | None, own: Path, working_directory: Path) -> RunDirectory | None:
    """The run to wait for, or None. Raises `UsageError` if it does not exist, or is this run."""
    if after is None:
        return None
    beside = working_directory / Path(after).expanduser()
    if os.path.isfile(RunDirectory(beside).database):
        found = RunDirectory(beside)
        registry.refuse_clash(after, found.path)
    else:
        found = RunDirectory(registry.resolve(after))
    if found.path == RunDirectory(own).path:
        raise UsageError(f"--after {after}: a run cannot wait for itself")
    return found


def waiting_for(other: RunDirectory | None) -> Callable[[], str | None]:
    """A function that returns what a run waits for, or None once the other run's lock is free."""

    def waits() -> str | None:
        if other is None:
            return None
        try:
            live = is_locked(other.lock)
        except RunDirectoryError as error:
            return f"waits for {other.id} (--after), which cannot be read: {error}"
        return f"waits until {other.id} has ended (--after)" if live else None

    return waits
