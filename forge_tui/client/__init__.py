"""Start, attach to, follow and control a run: the only way a front end reaches one."""

from forge_tui.client.known import attach, delete, find, known_runs, named_runs, namesakes, untrusted_code
from forge_tui.client.launch import check, plan, resume, start
from forge_tui.client.run import Run

__all__ = [
    "Run",
    "attach",
    "check",
    "delete",
    "find",
    "known_runs",
    "named_runs",
    "namesakes",
    "plan",
    "resume",
    "start",
    "untrusted_code",
]
