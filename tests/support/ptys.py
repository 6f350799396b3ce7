"""A real terminal for tests: a pty, a shell with job control on it, and an app as its foreground job."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte

SHELL = Path(__file__).parent.parent / "tui" / "terminal" / "apps" / "job_shell.py"
_SECONDS = 60.0
_MODE = re.compile(rb"\x1b\[\?([0-9;]+)([hl])")
_NOT_FOR_PYTE = re.compile(r"\x1b\[[<>][0-9]*u|\x1b\[\?[0-9]+\$p|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b\[[0-9;]+t")


class Pty:
    """A terminal of `columns` by `rows` with `python ARGUMENTS` in the foreground; use it as a context manager."""

    def __init__(self, *arguments: str | Path, columns: int = 80, rows: int = 24, **environ: str) -> None:
        self.output = b""
        self.reports: list[str] = []
        self.events: list[dict[str, Any]] = []
        self._looked_at: object = None
        self._text = ""
        self._unfinished = {"reports": b"", "events": b""}
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        orders, self._orders = os.pipe()
        self._events, events = os.pipe()
        self._reports, reports = os.pipe()
        os.set_blocking(reports, False)
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environ}
        environment |= {"ORDERS": str(orders), "EVENTS": str(events), "REPORT": str(reports)}
        for name in ("NO_COLOR", "COLORTERM", "COLUMNS", "LINES"):
            if name not in environ:
                environment.pop(name, None)
        self._shell = subprocess.Popen(
            [sys.executable, SHELL, *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            pass_fds=(orders, events, reports),
        )
        for descriptor in (slave, orders, events, reports):
            os.close(descriptor)

    def __enter__(self) -> Pty:
        self.pid = int(self.wait_for_event("started")["pid"])
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError, AttributeError):
            os.killpg(self.pid, signal.SIGKILL)
        self._shell.kill()
        self._shell.wait()
        for descriptor in (self.master, self._orders, self._events, self._reports):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    # What the test does

    def send(self, keys: str) -> None:
        """Type `keys`."""
        os.write(self.master, keys.encode())

    def kill(self, signum: int) -> None:
        """Send the app a signal."""
        os.kill(self.pid, signum)

    def order(self, line: str) -> None:
        """Tell the shell: fg, bg."""
        os.write(self._orders, f"{line}\n".encode())

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal; the kernel sends SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hang_up(self) -> None:
        """Close the terminal's other end."""
        os.close(self.master)
        self.master = -1

    # What it waits for

    def wait(self, condition: Callable[[], Any], what: str, *, reading: bool = True) -> Any:
        """Wait for `condition()`, taking the app's output meanwhile, or not (`reading`: a stalled terminal)."""
        deadline = time.monotonic() + _SECONDS
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited in vain for {what}; the screen shows\n{self.text()}"
            self._take(0.05, reading)
        return value

    def wait_for_text(self, text: str) -> None:
        """Wait until the screen shows `text`."""
        self.wait(lambda: text in self.text(), repr(text))

    def wait_for_event(self, event: str, *, reading: bool = True) -> dict[str, Any]:
        """Wait for the shell to tell `event`, and return (and forget) it and the ones before it."""

        def told() -> dict[str, Any] | None:
            while self.events:
                record = self.events.pop(0)
                if record["event"] == event:
                    return record
            return None

        found: dict[str, Any] = self.wait(told, f"the job to be {event}", reading=reading)
        if reading:
            self.take_all()
        return found

    def wait_for_report(self, line: str) -> None:
        """Wait for a line from the app that has not been waited for."""
        self.wait(lambda: line in self.reports, f"report {line!r}")
        self.reports = self.reports[self.reports.index(line) + 1 :]

    def wait_for_silence(self) -> None:
        """Wait, without taking any output, until the app's loop has stood still for half a second."""
        while True:
            self.reports.clear()
            self._take(0.5, reading=False)
            if not self.reports:
                return

    def take_all(self) -> None:
        """Take what output there is: of an app that has ended, the rest."""
        while self._take(0.0, True):
            pass

    # What there is to see

    def text(self) -> str:
        """The screen as text: what was drawn since the alternate screen was last opened or left."""
        if self._looked_at != (state := (len(self.output), self._size())):
            self._looked_at, self._text = state, self._look()
        return self._text

    def _look(self) -> str:
        drawn = re.split(rb"\x1b\[\?1049[hl]", self.output)[-1].decode("utf-8", "replace")
        screen = pyte.Screen(*self._size())
        pyte.Stream(screen).feed(_NOT_FOR_PYTE.sub("", drawn))
        return "\n".join(line.rstrip() for line in screen.display).rstrip()

    def modes(self) -> set[int]:
        """The private modes that are on now, other than those of a terminal at rest (wrapping, cursor)."""
        on = {7, 25}
        for numbers, switch in _MODE.findall(self.output):
            for number in map(int, numbers.split(b";")):
                (on.add if switch == b"h" else on.discard)(number)
        return (on ^ {7, 25}) - {2026}

    def keyboard_protocols(self) -> int:
        """How many keyboard protocols are pushed."""
        return len(re.findall(rb"\x1b\[>[0-9]+u", self.output)) - self.output.count(b"\x1b[<u")

    def threads(self) -> int:
        """How many threads the app has."""
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def assert_left(self, exited: dict[str, Any], status: int) -> None:
        """The app has ended with `status`, and the terminal is as it was."""
        assert exited["status"] == status, self.text()
        assert exited["modes_as_before"] is True
        assert self.modes() == set()
        assert self.keyboard_protocols() == 0

    def _size(self) -> tuple[int, int]:
        if self.master < 0:
            return 80, 24
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(self.master, termios.TIOCGWINSZ, bytes(8)))
        return columns, rows

    def _take(self, seconds: float, reading: bool) -> bool:
        sources = [self._events, self._reports]
        if reading and self.master >= 0:
            sources.append(self.master)
        ready, _, _ = select.select(sources, [], [], seconds)
        took = False
        for source in ready:
            try:
                data = os.read(source, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                data = b""
            took = took or bool(data)
            if source == self.master:
                self.output += data
            else:
                self._keep("events" if source == self._events else "reports", data)
        return took

    def _keep(self, kind: str, data: bytes) -> None:
        *lines, self._unfinished[kind] = (self._unfinished[kind] + data).split(b"\n")
        if kind == "events":
            self.events += [json.loads(line) for line in lines]
        else:
            self.reports += [line.decode() for line in lines]
