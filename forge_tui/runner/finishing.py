"""`[run] on_finish`: a command of the user's own when a run has ended. Explicit arguments, no shell."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from forge_tui.progress.phases import RunState

SECONDS = 60.0
_WORD = re.compile(r"\{(?:run|state|directory)\}")


def filled_in(arguments: Sequence[str], directory: Path, state: RunState) -> list[str]:
    """The arguments with `{run}`, `{state}` and `{directory}` replaced; other braces stay as they are."""
    values = {"{run}": directory.name, "{state}": state.value, "{directory}": str(directory)}
    # In one go: a directory's name may have such braces itself.
    return [_WORD.sub(lambda found: values[found[0]], argument) for argument in arguments]


def run_on_finish(arguments: Sequence[str], directory: Path, state: RunState, working_directory: Path) -> str | None:
    """Run the command; what went wrong with it in words, or None. Its output goes where this process's does."""
    if not arguments:
        return None
    command = filled_in(arguments, directory, state)
    where = working_directory if working_directory.is_dir() else directory
    try:
        done = subprocess.run(command, cwd=where, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"[run] on_finish: {command[0]} was ended after {SECONDS:g} s"
    except (OSError, ValueError) as error:
        return f"[run] on_finish: {command[0]} cannot be run: {error}"
    return None if done.returncode == 0 else f"[run] on_finish: {command[0]} ended with status {done.returncode}"
