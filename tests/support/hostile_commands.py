"""Carries out commands of forge-tui on a terminal of their own, within a time, and says what came of each.

Each is a fork of a process that has imported everything: 20 ms instead of seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import traceback
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_MEMORY = 2 << 30
"""More than any command takes for what these directories hold (bytes, at its peak)."""
_KEYS_AFTER = 1.0
# By ctrl+c before a screen has taken over the keys.
_LEFT = 130
_LEAVE = (b"\r", b"q", b"\x03", b"\x03", b"\r", b"\x03")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status`: None where the time was over. `memory`: at most, in bytes. `output`: both streams, as on a terminal."""

    status: int | None
    output: bytes
    seconds: float
    memory: int

    def problems(self, *, is_screen: bool) -> list[str]:
        """What must not be, in words."""
        found = []
        text = self.output.decode("utf-8", "replace")
        if self.status is None:
            found.append(f"is not done after {self.seconds:.0f} s")
        elif self.status not in (0, 1, 2, 4) and not (is_screen and self.status == _LEFT):
            found.append(f"exits with {self.status}")
        if "Traceback (most recent call last)" in text:
            found.append("a traceback: " + " | ".join(text.strip().splitlines()[-3:])[-300:])
        if self.memory > MOST_MEMORY:
            found.append(f"took {self.memory >> 20} MiB")
        if b"]0;HOSTILE" in self.output and b"\x1b]0;HOSTILE" in self.output:
            found.append("a title was set")
        if not is_screen:
            wrong = {one for one in text if one not in "\r\n\t" and unicodedata.category(one) in ("Cc", "Cf", "Cs")}
            if wrong:
                found.append(f"control characters {sorted(map(hex, map(ord, wrong)))}")
        return found


def carry_out(do: Callable[[], Any], seconds: float, *, keys: bool = False) -> Outcome:
    """Call `do` in a fork; what it returns is the status. `keys`: open a screen and leave it by keys."""
    begun = time.monotonic()
    child, terminal = pty.fork()
    if child == 0:
        _be_a_command(do)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    output = bytearray()
    waiting, pressed, status, usage = list(_LEAVE), begun, None, None
    while True:
        output += _read(terminal)
        done, ended, usage = os.wait4(child, os.WNOHANG)
        now = time.monotonic()
        if done:
            status = os.waitstatus_to_exitcode(ended)
            output += _read(terminal)
            break
        if now - begun > seconds:
            _end(child)
            break
        if keys and waiting and now - pressed > _KEYS_AFTER:
            pressed = now
            with contextlib.suppress(OSError):
                os.write(terminal, waiting.pop(0))
    os.close(terminal)
    memory = 0 if usage is None else usage.ru_maxrss * 1024
    return Outcome(status, bytes(output), time.monotonic() - begun, memory)


def _be_a_command(do: Callable[[], Any]) -> None:
    """In the child: never returns."""
    status = 70
    try:
        # What the parent has buffered is the parent's; the streams are the terminal's.
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, encoding="utf-8", closefd=False, buffering=1)
            for number, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
        os.environ["TERM"] = "xterm-256color"
        status = int(do() or 0)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _read(terminal: int) -> bytes:
    found = b""
    while select.select([terminal], [], [], 0.02)[0]:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # nobody writes any more
            break
        if not piece:
            break
        found += piece
        if len(found) > 1 << 22:
            break
    return found


def _end(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def first_words(output: bytes, run: Path) -> str:
    """The first line that a command has written, without what differs from place to place."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.decode("utf-8", "replace"))
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line.replace(str(run.parent), "…").replace("forge-tui: ", "")
