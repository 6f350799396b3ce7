"""Ctrl+Z: stops the whole job, as the shell would."""

from __future__ import annotations

import os
import signal


def suspend_problem() -> str:
    """Why this process cannot be suspended; empty if it can.

    A job that no shell waits for would stay stopped for ever: a session leader (started by sshd, tmux or a terminal
    window directly), or one whose shell has no job control.
    """
    if os.getsid(0) == os.getpid() or not _has_job_control_parent():
        return "cannot suspend: this terminal started forge-tui directly, and no shell could continue it (q leaves)"
    return ""


def stop_job() -> None:
    """Stop this process's whole job until the shell continues it.

    All of it: if a launcher in between (`uv run`, a script) did not stop, the shell would still wait for it.
    """
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    try:
        os.kill(0, signal.SIGTSTP)
    finally:
        signal.signal(signal.SIGTSTP, handler)


def _has_job_control_parent() -> bool:
    """Whether an ancestor of our job belongs to this session but to another job."""
    import psutil  # 10 ms, for this key only

    job, session = os.getpgrp(), os.getsid(0)
    try:
        process = psutil.Process()
        while (process := process.parent()) is not None:
            if os.getpgid(process.pid) != job:
                return os.getsid(process.pid) == session
    except (psutil.Error, OSError):
        return False
    return False
