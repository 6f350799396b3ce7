"""Look at runs: `runs`, `status`, `logs` and `wait`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.log_file import LogReader
from forge_tui.runs.starting import start_in_words

_FOLLOW_SECONDS = 0.2


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one command."""
    if name != "runs":
        optional = "?" if name == "status" else None
        parser.add_argument("run", metavar="RUN", nargs=optional, help="run directory or run id")
    if name == "logs":
        parser.add_argument("model", metavar="MODEL", nargs="?", help="a model's name; without it the runner's output")
        parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
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
    from forge_tui.session import known_runs
    from forge_tui.text import printable, table

    known = known_runs()
    if as_json:
        print(json.dumps([{**dataclasses.asdict(entry), "path": str(entry.path)} for entry in known]))
        return 0
    if not known:
        print("No runs yet: `forge-tui demo` makes one.", file=sys.stderr)
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
    from forge_tui import session
    from forge_tui.headless import progress_line, why_it_ended
    from forge_tui.progress.phases import RunState
    from forge_tui.report import result_table

    with session.attach(which) as attached:
        snapshot = attached.snapshot()
    if as_json:
        print(json.dumps(snapshot.to_record()))
        return 0
    print(progress_line(snapshot))
    if snapshot.run.limit_reason:
        print(f"workers {snapshot.run.workers} of {snapshot.run.requested}: {snapshot.run.limit_reason}")
    sys.stdout.write(result_table(snapshot))
    sys.stdout.flush()
    if snapshot.state is RunState.DIED:
        resume = f"forge-tui resume {shlex.quote(snapshot.run.run)}"
        print(f"{why_it_ended(snapshot)}; to continue: {resume}", file=sys.stderr)
    for problem in snapshot.problems:
        print(f"warning: {problem}", file=sys.stderr)
    return 0


def _wait(which: str) -> int:
    from forge_tui import session
    from forge_tui.headless import why_it_ended
    from forge_tui.progress.phases import RunState

    with session.attach(which) as attached:
        snapshot = attached.wait()
    reason = why_it_ended(snapshot)
    print(f"run {snapshot.run.run} {snapshot.state}" + (f": {reason}" if reason else ""), file=sys.stderr)
    return 0 if snapshot.state is RunState.COMPLETED else 1


def _logs(which: str, model: str | None, follow: bool) -> int:
    from forge_tui import session

    with session.attach(which) as attached:
        path = attached.directory.log("runner" if model is None else attached.model_named(model).log_name)
        if not _copy_log(path, attached, follow):
            print(f"nothing was printed by {'the runner' if model is None else 'this model'}", file=sys.stderr)
    return 0


def _copy_log(path: Path, attached: Any, follow: bool) -> int:
    """Write a log to stdout, and with `follow` what is added to it until the run ends; the bytes of it."""
    written, on_terminal = 0, sys.stdout.isatty()
    with contextlib.closing(LogReader(path)) as log:
        while True:
            live = follow and attached.snapshot().state.is_live
            for chunk in _pieces_of(log, path):
                sys.stdout.buffer.write(_for_terminal(chunk) if on_terminal else chunk)
                written += len(chunk)
            sys.stdout.buffer.flush()
            if not live:
                return written
            time.sleep(_FOLLOW_SECONDS)


def _pieces_of(log: LogReader, path: Path) -> Iterator[bytes]:
    """What was added to a log; nothing while a model that has not started has none."""
    try:
        yield from log.read()
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error.strerror}") from error


def _for_terminal(output: bytes) -> bytes:
    """What training code has printed, without what would steer the terminal; a pipe gets it as it is."""
    return bytes(byte if byte >= 32 or byte in b"\n\t" else 32 for byte in output.replace(b"\r\n", b"\n")).replace(
        b"\x7f", b" "
    )
