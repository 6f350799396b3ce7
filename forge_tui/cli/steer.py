"""Steer and delete runs: `stop`, `kill` and `rm`."""

from __future__ import annotations

import argparse
import os
import socket
import sys

from forge_tui.errors import ForgeError, RunDirectoryError

_ANSWER_SECONDS = 5.0


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one command."""
    parser.add_argument("run", metavar="RUN", help="run directory or run id")
    if name == "rm":
        parser.add_argument("--yes", "-y", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Carry out one command."""
    if name == "rm":
        return _remove(arguments.run, arguments.yes)
    return _command(arguments.run, name)


def _command(which: str, name: str) -> int:
    from forge_tui import session

    with session.attach(which) as attached:
        command = attached.control(name, sender=f"{os.environ.get('USER', 'user')}@{socket.gethostname()}")
        answer = attached.answer(command, _ANSWER_SECONDS)
        if answer is None:
            raise ForgeError(
                f"run {attached.id}: no answer to {name} within {_ANSWER_SECONDS:g} s; it is kept for the runner"
            )
        if answer["outcome"] == "refused":
            raise ForgeError(f"run {attached.id} refused {name}: {answer['reason']}")
        snapshot = attached.wait()
    print(f"run {snapshot.run.run} {snapshot.state}", file=sys.stderr)
    return 0


def _remove(which: str, sure: bool) -> int:
    from forge_tui import session

    path = session.find(which)
    if not sure:
        if not sys.stdin.isatty():
            raise RunDirectoryError(f"{path}: not deleted; give --yes to delete it without being asked")
        if input(f"Delete {path} and all models in it? [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing was deleted.", file=sys.stderr)
            return 1
    session.delete(path)
    print(f"{path} deleted", file=sys.stderr)
    return 0
