"""Detects a start without a run yet, in progress or killed: its files exist, its database does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import is_locked
from forge_tui.runs.names import STARTING_FILE, STARTING_LOG


def state_of_start(path: Path) -> Literal["starting", "killed"] | None:
    """The state of an unfinished start in a run directory; None if there is a run, or nothing."""
    directory = RunDirectory(path)
    if os.path.lexists(directory.database):
        return None
    if not any(os.path.lexists(directory.path / name) for name in (STARTING_FILE, STARTING_LOG)):
        return None
    try:
        return "starting" if is_locked(directory.lock) else "killed"
    except RunDirectoryError:
        return "starting"  # if it cannot be checked, do not report it as killed


def refuse_unless_a_run_comes_back(path: Path) -> None:
    """Raise `RunDirectoryError` if there is only an unfinished start, which moved no earlier run away."""
    from forge_tui.runs.intent import read_intent  # here: it is seldom needed

    words = start_in_words(path)
    intent = read_intent(path)
    if words is not None and (intent is None or intent.previous is None):
        raise RunDirectoryError(words)


def start_in_words(path: Path) -> str | None:
    """The unfinished start and what to do about it, as a message."""
    state = state_of_start(path)
    if state is None:
        return None
    if state == "starting":
        return f"a run is being started in {path}: data and model are being read; try again in a moment"
    from forge_tui.runs.intent import read_intent  # here: it is seldom needed

    intent = read_intent(path)
    if intent is not None and intent.previous is not None:
        return (
            f"a start in {path} was killed while it moved an earlier run away: give the command again, or continue "
            f"the earlier run with `forge-tui resume {path}`; both put it back first"
        )
    return (
        f"a start in {path} was killed before its run began, and nothing was trained: give the same command again, or "
        f"remove its files with `forge-tui rm {path}`; starting.log has its output"
    )
