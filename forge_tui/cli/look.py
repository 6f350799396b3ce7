"""Show runs: `runs`, `status`, `logs` and `wait`."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.log_file import LogReader
from forge_tui.runs.unfinished_start import start_in_words
from forge_tui.safe_io.printing import answer, harmless, named, printable, say, shell_word
from forge_tui.safe_io.rewriting import Rewriter

_FOLLOW_SECONDS = 0.2


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one command."""
    if name != "runs":
        optional = "?" if name == "status" else None
        parser.add_argument("run", metavar="RUN", nargs=optional, help="run directory or run id")
    if name == "logs":
        parser.add_argument("model", metavar="MODEL", nargs="?", help="a model's name; without it the runner's output")
        parser.add_argument("-f", "--follow", action="store_true", help="continue until the run ends")
    if name in ("runs", "status"):
        parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Carry out one command."""
    match name:
        case "runs":
            return _runs(arguments.json)
        case "status":
            return _status(arguments.run, arguments.json)
        case "logs":
            return _logs(arguments.run, arguments.model, arguments.follow)
    return _wait(arguments.run)


def _runs(as_json: bool) -> int:
    from forge_tui.client import known_runs
    from forge_tui.text.figures import table

    known = known_runs()
    if as_json:
        print(json.dumps([{**dataclasses.asdict(entry), "path": str(entry.path)} for entry in known]))
        return 0
    if not known:
        say("No runs yet: `forge-tui demo` makes one.")
        return 0
    rows = [
        (
            entry.run,
            entry.status or "—",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created)),
            f"{entry.models} × {entry.model_type}",
            entry.mode,
            str(entry.path),
        )
        for entry in known
    ]
    sys.stdout.write(table(("RUN", "STATE", "CREATED", "MODELS", "MODE", "DIRECTORY"), rows))
    sys.stdout.flush()
    for entry in known:
        if entry.status == "killed" and (words := start_in_words(entry.path)) is not None:
            print(printable(words), file=sys.stderr)
    return 0


def _status(which: str | None, as_json: bool) -> int:
    from forge_tui import client
    from forge_tui.batch.batch_mode import why_it_ended
    from forge_tui.batch.progress import progress_line
    from forge_tui.protocol.phases import RunState
    from forge_tui.reports.run_report import best_line, result_table, status_record
    from forge_tui.text.baseline_lines import baseline_lines

    with client.attach(which) as attached:
        snapshot = attached.snapshot()
    if as_json:
        print(json.dumps(status_record(snapshot)))
        return 0
    answer(progress_line(snapshot))
    if snapshot.run.limit_reason:
        answer(printable(f"workers {snapshot.run.workers} of {snapshot.run.requested}: {snapshot.run.limit_reason}"))
    sys.stdout.write(result_table(snapshot) + best_line(snapshot) + baseline_lines(snapshot))
    sys.stdout.flush()
    if snapshot.state is RunState.DIED:
        say(f"{why_it_ended(snapshot)}; to continue: forge-tui resume {shell_word(snapshot.run.run)}")
    for problem in snapshot.problems:
        say(f"warning: {problem}")
    return 0


def _wait(which: str) -> int:
    from forge_tui import client
    from forge_tui.batch.batch_mode import why_it_ended
    from forge_tui.protocol.phases import RunState

    with client.attach(which) as attached:
        snapshot = attached.wait()
    reason = why_it_ended(snapshot)
    say(f"run {snapshot.run.run} {snapshot.state}" + (f": {reason}" if reason else ""))
    return 0 if snapshot.state is RunState.COMPLETED else 1


def _logs(which: str, model: str | None, follow: bool) -> int:
    from forge_tui import client

    with client.attach(which) as attached:
        path = attached.directory.log("runner" if model is None else attached.model_named(model).log_name)
        if not _copy_log(path, attached, follow):
            say(f"nothing was printed by {'the runner' if model is None else 'this model'}")
    return 0


def _copy_log(path: Path, attached: Any, follow: bool) -> int:
    """Write a log to stdout, with `follow` also what is added until the run ends; returns the bytes written."""
    # Output of training code; a pipe gets its bytes unchanged.
    written, screen = 0, _LogOnTerminal() if sys.stdout.isatty() else None
    with contextlib.closing(LogReader(path, attached.path)) as log:
        while True:
            live = follow and attached.snapshot().state.is_live
            for chunk in _pieces_of(log, path):
                if screen is not None:
                    screen.write(chunk)
                else:
                    sys.stdout.buffer.write(chunk)
                written += len(chunk)
            if screen is not None:
                screen.draw_partial(live)
            sys.stdout.flush()
            if not live:
                return written
            time.sleep(_FOLLOW_SECONDS)


class _LogOnTerminal:
    """A log on a terminal: complete lines in their final form, the incomplete one redrawn in place."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rewriter = Rewriter()
        self._drawn = ""

    def write(self, chunk: bytes) -> None:
        """Write the lines completed by `chunk`."""
        lines = harmless(self._rewriter.feed(self._decoder.decode(chunk)))
        if lines:
            self._take_back()
            sys.stdout.write(lines)

    def draw_partial(self, live: bool) -> None:
        """Draw the incomplete line; cut to the terminal's width while it may change."""
        from rich.cells import chop_cells

        shown = harmless(self._rewriter.partial)
        if live:
            shown = chop_cells(shown.expandtabs(), max(1, shutil.get_terminal_size().columns - 1))[0] if shown else ""
        if shown != self._drawn:
            self._take_back()
            sys.stdout.write(shown)
            self._drawn = shown
        if not live and shown:
            sys.stdout.write("\n")

    def _take_back(self) -> None:
        from rich.cells import cell_len

        if self._drawn:
            sys.stdout.write("\r" + " " * cell_len(self._drawn) + "\r")
            self._drawn = ""


def _pieces_of(log: LogReader, path: Path) -> Iterator[bytes]:
    """The bytes added to a log; nothing while it does not exist, before the model's start."""
    try:
        yield from log.read()
    except RunDirectoryError:
        raise
    except OSError as error:
        raise RunDirectoryError(f"{named(path)}: cannot be read: {error.strerror}") from error
