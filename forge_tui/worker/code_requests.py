"""A worker's access to the run's copy of custom code, which the runner extends on request."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forge_tui.protocol.job import Job
from forge_tui.runs.code import CodeRecord
from forge_tui.safe_io.printing import named
from forge_tui.training.code_finder import CodeFinder, Copy, copies_in, install

_Message = dict[str, Any]


class CodeRequests:
    """Uses the copy; asks the runner to copy files that are imported for the first time, and waits for the answer."""

    def __init__(self, send: Callable[[_Message], None]) -> None:
        self._send = send
        self._directory = Path()
        self._pid = os.getpid()
        self._answers: dict[str, _Message] = {}
        self._answered = threading.Condition()

    def use(self, job: Job) -> None:
        """Import the run's custom code from its copy from now on.

        Raises `ChangedError` if the copy differs from the record.
        """
        if job.code_roots:
            self._directory = Path(job.directory) / "code"
            record = CodeRecord(job.code, job.code_roots, job.code_modules)
            install(CodeFinder(record, copies_in(self._directory, job.code), self._ask))

    def _ask(self, file: str) -> tuple[str, Copy]:
        """Have the runner copy a file. Raises `ImportError` with the reason if it does not."""
        if os.getpid() != self._pid:  # the answer would reach the worker that this process was forked from
            raise ImportError(
                f"{named(file)} is not part of the code that the run was started with, and a process started by a "
                "worker cannot add it; import it earlier, such as at the top of the file that settings name"
            )
        self._send({"code": file})
        with self._answered:
            self._answered.wait_for(lambda: file in self._answers)
            answer = self._answers[file]
        if "refused" in answer:
            raise ImportError(answer["refused"])
        path = answer["path"]
        return path, copies_in(self._directory, {path: answer["sha256"]})[path]

    def before(self, take: Callable[[_Message], None]) -> Callable[[_Message], None]:
        """A handler that takes the runner's answers; `take` gets the other messages."""

        def take_others(message: _Message) -> None:
            if message["command"] != "code":
                take(message)
                return
            with self._answered:
                self._answers[message["file"]] = message
                self._answered.notify_all()

        return take_others
