"""`[run] on_finish`: the user's command at the end of a run. Explicit arguments, no shell."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from forge_tui.protocol.phases import RunState

SECONDS = 60.0
_LOOK_SECONDS = 0.1
_WORD = re.compile(r"\{(?:run|state|directory)\}")


def filled_in(arguments: Sequence[str], directory: Path, state: RunState) -> list[str]:
    """The arguments with `{run}`, `{state}` and `{directory}` replaced; other braces stay as they are."""
    values = {"{run}": directory.name, "{state}": state.value, "{directory}": str(directory)}
    # In one pass: a directory's name may have such braces itself.
    return [_WORD.sub(lambda found: values[found[0]], argument) for argument in arguments]


def run_on_finish(
    arguments: Sequence[str], directory: Path, state: RunState, working_directory: Path, log_bytes: int
) -> str | None:
    """Run the command; returns a problem in words, or None. It shares this process's output.

    That is a file, so that background processes of the command can print too; a command that prints more than
    `log_bytes` is ended.
    """
    if not arguments:
        return None
    command = filled_in(arguments, directory, state)
    where = working_directory if working_directory.is_dir() else directory
    try:
        process = subprocess.Popen(command, cwd=where, stdin=subprocess.DEVNULL)
    except (OSError, ValueError) as error:
        return f"[run] on_finish: {command[0]} cannot be run: {error}"
    why = _wait(process, os.fstat(1).st_size + log_bytes)
    if why is not None:
        process.kill()
        process.wait()
        return f"[run] on_finish: {command[0]} was ended {why}"
    status = process.returncode
    return None if status == 0 else f"[run] on_finish: {command[0]} ended with status {status}"


def _wait(process: subprocess.Popen[bytes], largest: int) -> str | None:
    """Wait for the command; returns why to end it, or None. `largest`: maximum size of the log."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            process.wait(_LOOK_SECONDS)
            return None
        except subprocess.TimeoutExpired:
            if os.fstat(1).st_size > largest:
                return "because it printed more than run.log_bytes"
    return f"after {SECONDS:g} s"
