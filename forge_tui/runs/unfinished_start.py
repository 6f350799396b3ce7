"""A start that has made no run yet, under way or killed: files of it lie there until there is a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import is_locked
from forge_tui.runs.names import STARTING_FILE, STARTING_LOG


def state_of_start(path: Path) -> Literal["starting", "killed"] | None:
    """What there is in a run directory in place of a run; None where there is one, or nothing of one."""
    directory = RunDirectory(path)
    if os.path.lexists(directory.database):
        return None
    if not any(os.path.lexists(directory.path / name) for name in (STARTING_FILE, STARTING_LOG)):
        return None
    try:
        return "starting" if is_locked(directory.lock) else "killed"
    except RunDirectoryError:
        return "starting"  # what may not be looked at is nothing to be taken for dead


def refuse_unless_a_run_comes_back(path: Path) -> None:
    """Raise `RunDirectoryError` where there is nothing but such a start, which moved no earlier run away."""
    from forge_tui.runs.intent import read_intent  # here: it reads records, by what asks this

    words = start_in_words(path)
    intent = read_intent(path)
    if words is not None and (intent is None or intent.previous is None):
        raise RunDirectoryError(words)


def start_in_words(path: Path) -> str | None:
    """The same with what to do, in words."""
    state = state_of_start(path)
    if state is None:
        return None
    if state == "starting":
        return f"a run is being started in {path}: data and model are being read; look again in a moment"
    from forge_tui.runs.intent import read_intent  # here: it reads records, by what asks this

    intent = read_intent(path)
    if intent is not None and intent.previous is not None:
        return (
            f"a start in {path} was killed while it moved an earlier run away: give the command again, or continue "
            f"the earlier run with `forge-tui resume {path}`; both put it back first"
        )
    return (
        f"a start in {path} was killed before its run began, and nothing was trained: give the same command again, or "
        f"remove what is left with `forge-tui rm {path}`; starting.log has what was printed"
    )
