"""The process of a command, and all that it starts: they are this worker's process group, without the worker.

The fork server kills a worker's group when the worker ends, however it ends; the worker leaves the group so that it
can be stopped and continued as a whole.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from forge_tui.worker.children import adopt_orphans, die_with, ended_children


class CommandProcess:
    """A running command. `returncode` is its exit status (negative: a signal), None while it runs."""

    def __init__(
        self, arguments: Sequence[str], directory: str, environment: Mapping[str, str], *, out: int, err: int
    ) -> None:
        """Start it with these descriptors as stdout and stderr, and nothing on stdin. Raises `OSError`.

        Call it once in a worker, which has one thread and leads a process group of its own.
        """
        self._group = os.getpgid(0)
        if self._group != os.getpid():
            raise RuntimeError("a command's signals would reach more than the command: its worker leads no group")
        adopt_orphans()
        worker = os.getpid()
        self._process = subprocess.Popen(
            list(arguments),
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            preexec_fn=lambda: die_with(worker),
        )
        self.returncode: int | None = None
        os.setpgid(0, os.getpgid(os.getppid()))

    @property
    def pid(self) -> int:
        """The process id of the command itself."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the command."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, number)

    def reap(self) -> None:
        """Take note of processes that have ended: the command, or what it has left behind."""
        for pid, status in ended_children():
            if pid == self._process.pid:
                self.returncode = self._process.returncode = status


def peak_of_ended() -> int:
    """The largest peak memory of a single ended process of the command, in bytes; at least what a fork of us has."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
