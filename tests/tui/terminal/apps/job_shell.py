"""A shell of one job: starts `python ARGUMENTS` as the foreground job of the terminal on standard input.

It obeys lines on the file descriptor in ORDERS (fg, bg, end) and writes JSON lines to the one in EVENTS: what became of
the job, and whether the terminal's modes were then as at the start.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import termios

ORDERS, EVENTS = int(os.environ["ORDERS"]), int(os.environ["EVENTS"])


def main() -> None:
    for signum in (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    before = termios.tcgetattr(0)
    job = os.fork()
    if job == 0:
        if "SESSION_LEADER" in os.environ:
            os.setsid()  # as under tmux or sshd, where there is no shell
        else:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
        for signum in (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(signum, signal.SIG_DFL)
        if "IGNORE_HANGUP" in os.environ:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    tell("started", before, pid=job)
    orders = os.fdopen(ORDERS)
    while True:
        _, status = os.waitpid(job, os.WUNTRACED | os.WCONTINUED)
        if os.WIFCONTINUED(status):
            continue
        take_terminal()
        if not os.WIFSTOPPED(status):
            break
        tell("stopped", before)
        order = orders.readline().strip()
        if order == "end":
            return
        if order == "fg":
            os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)
    tell("exited", before, status=os.waitstatus_to_exitcode(status))
    orders.readline()  # this shell's end would hang up the terminal


def take_terminal() -> None:
    with contextlib.suppress(OSError):  # it may have hung up
        os.tcsetpgrp(0, os.getpgrp())


def tell(event: str, before: list[object], **more: object) -> None:
    try:
        modes = termios.tcgetattr(0) == before
    except termios.error:
        modes = None
    os.write(EVENTS, (json.dumps({"event": event, "modes_as_before": modes, **more}) + "\n").encode())


main()
