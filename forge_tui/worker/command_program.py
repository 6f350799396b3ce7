"""Finds a command's program and working directory, without running anything."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from forge_tui.errors import SettingsError
from forge_tui.protocol.job import Job
from forge_tui.safe_io.printing import escaped, named
from forge_tui.settings.command import placeholders
from forge_tui.settings.schema import from_plain


def find_program(job: Job) -> str | None:
    """The path of the program that the job's command runs; None if a placeholder decides about it.

    Raises `SettingsError` if it, or the working directory, is not there.
    """
    directory = job.working_directory
    if not os.path.isdir(directory):
        raise SettingsError(
            f"{named(directory)}: the command is run in the directory where the run was started, and there is no such "
            "directory any more; make it again"
        )
    program = from_plain(job.settings).run.command[0]
    if next(placeholders([program]), None) is not None:
        return None
    path = str(Path(directory) / program) if os.sep in program else shutil.which(program)
    if path is None:
        advice = "give its path, or check PATH"
        if " " in program:
            advice = "a command is a list of words, not one text: write them after --, as in -- python train.py"
        raise SettingsError(f"{escaped(program)}: there is no such program; {advice}")
    if not os.path.isfile(path):
        raise SettingsError(f"{escaped(program)}: there is no such program in {named(directory)}")
    if not os.access(path, os.X_OK):
        raise SettingsError(
            f"{escaped(program)}: is not executable; `chmod +x` makes it so, or run it with its interpreter, as in "
            f"-- sh {escaped(program)}"
        )
    return path
