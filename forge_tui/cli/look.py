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
from typing import TYPE_CHECKING, Any

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.log_file import LogReader
from forge_tui.runs.unfinished_start import start_in_words
from forge_tui.safe_io.printing import harmless, named, printable, say, shell_word
from forge_tui.safe_io.rewriting import Rewriter

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot

_FOLLOW_SECONDS = 0.2


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one command."""
    if name != "runs":
        optional = "?" if name == "status" else None
        parser.add_argument("run", metavar="RUN", nargs=optional, help="run directory, name or run id")
    if name == "logs":
        parser.add_argument("model", metavar="MODEL", nargs="?", help="a model's name; without it the runner's output")
        parser.add_argument("-f", "--follow", action="store_true", help="continue until the run ends")
    if name == "status":
        parser.add_argument(
            "--watch", action="store_true", help="until the run ends, with its exit status; in a pipe a line per change"
        )
    if name in ("runs", "status"):
        parser.add_argument("--json", action="store_true", help="as JSON; with --watch a line per change")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Carry out one command."""
    match name:
        case "runs":
            return _runs(arguments.json)
        case "status":
            return _status(arguments.run, arguments.json, watch=arguments.watch)
        case "logs":
            return _logs(arguments.run, arguments.model, arguments.follow)
    return _wait(arguments.run)


def _runs(as_json: bool) -> int:
    from forge_tui.client import known_runs
    from forge_tui.text.figures import duration, result_text, table

    known = known_runs(results=True)
    if as_json:
        print(json.dumps([{**dataclasses.asdict(entry), "path": str(entry.path)} for entry in known]))
        return 0
    if not known:
        say("No runs yet: `forge-tui demo` makes one.")
        return 0
    columns: dict[str, list[str]] = {
        "RUN": [entry.run for entry in known],
        "NAME": [entry.name for entry in known],
        "STATE": [entry.status or "—" for entry in known],
        "CREATED": [time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created)) for entry in known],
        "MODELS": [f"{entry.models} × {entry.model_type}" for entry in known],
        "MODE": [entry.mode for entry in known],
        "BEST": [result_text(entry.metric, entry.value) for entry in known],
        "TOOK": [duration(entry.seconds) for entry in known],
        "DIRECTORY": [str(entry.path) for entry in known],
        "NOTE": [entry.note for entry in known],
    }
    shown = {title: cells for title, cells in columns.items() if title not in ("NAME", "NOTE") or any(cells)}
    sys.stdout.write(table(list(shown), list(zip(*shown.values(), strict=True))))
    sys.stdout.flush()
    for entry in known:
        if entry.status == "killed" and (words := start_in_words(entry.path)) is not None:
            print(printable(words), file=sys.stderr)
    return 0


def _status(which: str | None, as_json: bool, *, watch: bool) -> int:
    from forge_tui import client
    from forge_tui.batch.batch_mode import why_it_ended
    from forge_tui.protocol.phases import RunState
    from forge_tui.reports.run_report import status_record

    with client.attach(which) as attached:
        if watch:
            from forge_tui.cli.watch_status import exit_status, watch_status

            snapshot = watch_status(attached, _status_lines, as_json=as_json)
            status, is_told = exit_status(snapshot), as_json or not sys.stdout.isatty()
        else:
            snapshot, status, is_told = attached.snapshot(), 0, False
            if as_json:
                print(json.dumps(status_record(snapshot)))
                return 0
    if not is_told:
        sys.stdout.write("".join(f"{line}\n" for line in _status_lines(snapshot)))
        sys.stdout.flush()
    if snapshot.state is RunState.DIED:
        say(f"{why_it_ended(snapshot)}; to continue: forge-tui resume {shell_word(snapshot.run.run)}")
    for problem in snapshot.problems:
        say(f"warning: {problem}")
    return status


def _status_lines(snapshot: Snapshot) -> list[str]:
    """The status of a run for people."""
    from forge_tui.batch.progress import progress_line
    from forge_tui.reports.run_report import best_line, result_table
    from forge_tui.text.baseline_lines import baseline_lines

    run = snapshot.run
    lines = [progress_line(snapshot)]
    if snapshot.label.note:
        lines.append(printable(f"note: {snapshot.label.note}"))
    if run.limit_reason:
        lines.append(printable(f"workers {run.workers} of {run.requested}: {run.limit_reason}"))
    return lines + (result_table(snapshot) + best_line(snapshot) + baseline_lines(snapshot)).splitlines()


def _wait(which: str) -> int:
    from forge_tui import client
    from forge_tui.batch.batch_mode import why_it_ended
    from forge_tui.cli.watch_status import exit_status

    with client.attach(which) as attached:
        snapshot = attached.wait()
    reason = why_it_ended(snapshot)
    say(f"run {snapshot.run.run} {snapshot.state}" + (f": {reason}" if reason else ""))
    return exit_status(snapshot)


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
