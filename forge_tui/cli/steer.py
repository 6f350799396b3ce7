"""Control and delete runs: `stop`, `kill`, `pause`, `continue`, `cancel`, `retry`, `workers` and `rm`."""

from __future__ import annotations

import argparse
import getpass
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_tui.errors import ForgeError, RunDirectoryError
from forge_tui.safe_io.printing import named, say
from forge_tui.settings.amounts import whole_number

if TYPE_CHECKING:
    from forge_tui.client.run import Run

_ANSWER_SECONDS = 5.0
# How many remaining files a message names.
_NAMED = 20
# These wait for the end of the run, which may take long: a checkpoint, a step of an hour.
_TO_THE_END = ("stop", "kill")


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one command."""
    if name == "rm":
        parser.add_argument("runs", metavar="RUN", nargs="+", help="run directory, name or run id")
        parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
        return
    parser.add_argument("run", metavar="RUN", help="run directory, name or run id")
    if name in ("cancel", "retry"):
        parser.add_argument("model", metavar="MODEL", help="the model's name, or its number")
    elif name == "workers":
        parser.add_argument("workers", metavar="N", type=whole_number, help="how many workers to ask for")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Carry out one command."""
    if name == "rm":
        return _remove(arguments.runs, arguments.yes)
    from forge_tui import client

    with client.attach(arguments.run) as attached:
        given: dict[str, Any] = {}
        if name in ("cancel", "retry"):
            given = {"model": attached.model_named(arguments.model).name}
        elif name == "workers":
            given = {"workers": arguments.workers}
        return _command(attached, name, given)


def _command(attached: Run, name: str, given: dict[str, Any]) -> int:
    """Send the command and wait until it is carried out."""
    command = attached.control(name, given, sender=f"{getpass.getuser()}@{socket.gethostname()}")
    answer = attached.answer(command, _ANSWER_SECONDS)
    if answer is None:
        raise ForgeError(
            f"run {attached.id}: no answer to {named(name)} within {_ANSWER_SECONDS:g} s; it is kept for the runner"
        )
    if answer["outcome"] == "accepted":
        if name in _TO_THE_END:
            attached.wait()
        answer = attached.answer(command, timeout=None, done=True)
    snapshot = attached.snapshot()
    if answer is None:
        raise ForgeError(f"run {attached.id} {snapshot.state} before it could {named(name)}")
    if answer["outcome"] in ("refused", "failed"):
        raise ForgeError(f"run {attached.id} {answer['outcome']} {named(name)}: {answer['reason']}")
    about = f"{given['model']} of run" if "model" in given else "run"
    reason = f": {answer['reason']}" if answer.get("reason") and name == "workers" else ""
    done = {"cancel": "cancelled", "retry": "queued again", "workers": f"{snapshot.run.workers} workers at once"}
    say(f"{about} {attached.id} {done.get(name, snapshot.state.value)}{reason}")
    return 0


def _remove(which: Sequence[str], sure: bool) -> int:
    """Delete runs, each by itself: one that cannot be deleted is reported, and the others go.

    Asks once, about those that exist. The exit status is that of the first error.
    """
    from forge_tui import client

    statuses, paths = [], []
    for run in which:
        try:
            paths.append(client.find(run))
        except ForgeError as error:
            statuses.append(_tell_kept(error))
    paths = list(dict.fromkeys(paths))
    if paths and not sure:
        what = named(paths[0]) if len(paths) == 1 else f"{len(paths)} runs"
        if not sys.stdin.isatty():
            raise RunDirectoryError(f"{what}: not deleted; give --yes to delete without being asked")
        for path in paths if len(paths) > 1 else ():
            say(named(path))
        models = "in it" if len(paths) == 1 else "in them"
        if input(f"Delete {what} and all models {models}? [y/N] ").strip().lower() not in ("y", "yes"):
            say("Nothing was deleted.")
            return 1
    for path in paths:
        try:
            say(_removed(path, client.delete(path)))
        except ForgeError as error:
            statuses.append(_tell_kept(error))
    return statuses[0] if statuses else 0


def _tell_kept(error: ForgeError) -> int:
    """Report why a run is not deleted; returns the exit status for it."""
    say(f"forge-tui: {error}")
    return error.exit_status


def _removed(path: Path, stayed: Sequence[Path]) -> str:
    """What was deleted and what was not."""
    name = named(path)
    if stayed:
        real = Path(os.path.realpath(path))
        names = [named(one.relative_to(real)) for one in stayed[:_NAMED]]
        more = f" and {len(stayed) - _NAMED} more" if len(stayed) > _NAMED else ""
        return f"{name}: the run is deleted; files that no run has made stay: {', '.join(names)}{more}"
    if path.is_dir():
        return f"{name}: the run is deleted; the directory stays, it existed before or cannot be removed"
    return f"{name} deleted"
