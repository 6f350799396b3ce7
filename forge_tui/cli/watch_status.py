"""`status --watch`: a run's status again and again until it ends; the exit status is the run's."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

from forge_tui.batch.progress import progress_line
from forge_tui.protocol.phases import RunState
from forge_tui.reports.run_report import status_record

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.snapshot import Snapshot

_LOOK_SECONDS = 0.5
_UP_AND_CLEAR = "\x1b[{}A\r\x1b[J"


def watch_status(run: Run, status_lines: Callable[[Snapshot], list[str]], *, as_json: bool) -> Snapshot:
    """Write the status to standard output whenever it has changed; returns the last snapshot, of the ended run.

    As JSON, or where standard output is no terminal, a line per change. On a terminal the lines of `status_lines` in
    place, as many as it has; the last ones are erased, for the caller to print them in full. Raises `RunGone` if the
    run's directory was moved or deleted.
    """
    out = sys.stdout
    show: Callable[[Snapshot], None]
    if as_json:
        show = _JsonLines(out)
    elif out.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        show = screen = _InPlace(out, status_lines)
        try:
            for snapshot in run.follow(_LOOK_SECONDS):
                if snapshot.state.is_live:
                    show(snapshot)
            return run.wait()
        finally:
            screen.erase()
    else:
        show = _Lines(out)
    for snapshot in run.follow(_LOOK_SECONDS):
        show(snapshot)
    last = run.wait()
    show(last)
    return last


def exit_status(snapshot: Snapshot) -> int:
    """The exit status for the end of a run, as that of `wait`."""
    return 0 if snapshot.state is RunState.COMPLETED else 1


class _JsonLines:
    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._last: tuple[int, RunState] | None = None

    def __call__(self, snapshot: Snapshot) -> None:
        if (snapshot.revision, snapshot.state) == self._last and not snapshot.state.is_live:
            return  # the end has been reported
        self._last = (snapshot.revision, snapshot.state)
        self._out.write(json.dumps(status_record(snapshot)) + "\n")
        self._out.flush()


class _Lines:
    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._last = ""

    def __call__(self, snapshot: Snapshot) -> None:
        line = progress_line(snapshot)
        if line != self._last:
            self._last = line
            self._out.write(f"{time.strftime('%H:%M:%S')} {line}\n")
            self._out.flush()


class _InPlace:
    """The lines of a status, drawn over those before."""

    def __init__(self, out: IO[str], status_lines: Callable[[Snapshot], list[str]]) -> None:
        self._out, self._status_lines = out, status_lines
        self._drawn = 0
        self._size = (0, 0)

    def __call__(self, snapshot: Snapshot) -> None:
        size = shutil.get_terminal_size()
        width, height = max(20, size.columns), max(3, size.lines)
        lines = fitted(self._status_lines(snapshot), snapshot, width - 1, height - 1)
        if self._size not in ((width, height), (0, 0)):
            # The terminal has broken the old lines in its own way: where they begin is not known.
            self._out.write("\x1b[2J\x1b[H")
            self._drawn = 0
        self._size = (width, height)
        self.erase()
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)

    def erase(self) -> None:
        """Remove the drawn lines; what is printed next takes their place."""
        if self._drawn:
            self._out.write(_UP_AND_CLEAR.format(self._drawn))
            self._out.flush()
        self._drawn = 0


def fitted(lines: Sequence[str], snapshot: Snapshot, width: int, height: int) -> list[str]:
    """The lines of a status for so many cells and lines: of many models those that are trained now come first.

    The lines of models are found by their names, at the beginning of their lines.
    """
    from rich.cells import chop_cells

    lines = [*textwrap.wrap(lines[0], width), *lines[1:]]  # its end has the time left
    if len(lines) > height:
        active = {model.name for model in snapshot.models if model.phase.is_active}
        names = {model.name for model in snapshot.models}
        of_models = [number for number, line in enumerate(lines) if _first_word(line) in names]
        room = max(0, height - 1 - (len(lines) - len(of_models)))
        shown = set(sorted(of_models, key=lambda number: _first_word(lines[number]) not in active)[:room])
        left = set(of_models) - shown
        lines = [line for number, line in enumerate(lines) if number not in left][: height - 1]
        lines.append(f"… and {len(left)} more models")
    return [chop_cells(line, width)[0] if line else "" for line in lines]


def _first_word(line: str) -> str:
    return line.partition(" ")[0]
