"""The end of what a model's code printed, read in a thread."""

from __future__ import annotations

import os
from dataclasses import dataclass

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.inside import open_inside
from forge_tui.runs.layout import RunDirectory
from forge_tui.safe_io.rewriting import rewritten

LOG_BYTES = 64 << 10
LOG_LINES = 500


@dataclass(frozen=True, slots=True)
class Output:
    """The last lines that a model's code printed. `is_cut`: there is more above them."""

    lines: tuple[str, ...] = ()
    is_cut: bool = False
    problem: str = ""


def read_output(directory: RunDirectory, log: str) -> Output:
    """Read the end of the log called `log`. Errors are reported in `problem`, not raised."""
    path = directory.log(log)
    try:
        lines, is_cut = _tail(open_inside(path, directory.path, os.O_RDONLY | os.O_NONBLOCK))
    except FileNotFoundError:
        return Output()  # no output before the model's start
    except RunDirectoryError as error:
        return Output(problem=str(error))
    except OSError as error:
        return Output(problem=f"{path} cannot be read: {error.strerror}")
    return Output(tuple(lines), is_cut)


def _tail(descriptor: int) -> tuple[list[str], bool]:
    """The last lines of an open file, which is closed, and whether there are more above."""
    with os.fdopen(descriptor, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - LOG_BYTES)
        file.seek(start)
        data = file.read(LOG_BYTES)
    lines = data.decode("utf-8", "replace").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    if start and len(lines) > 1:
        lines = lines[1:]  # its beginning is missing
    shown = [rewritten(line).expandtabs() for line in lines]
    return shown[-LOG_LINES:], start > 0 or len(shown) > LOG_LINES
