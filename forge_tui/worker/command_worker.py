"""The worker of a command: the counterpart of `worker.loop`, with the same messages and without torch.

It has one thread, which waits for the runner, the command's output, its end and signals at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import selectors
import signal
import socket
import time
import traceback
from pathlib import Path
from typing import Any

from forge_tui.errors import ForgeError, RunDirectoryError
from forge_tui.protocol.events import Event, to_record
from forge_tui.protocol.inspection import Inspection
from forge_tui.protocol.job import STOP_SIGNALS, Job, Outcome
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.wire import LineBuffer, encode_line
from forge_tui.training.model_place import ModelPlace
from forge_tui.training.patient_writes import MAY_PASS
from forge_tui.training.reporter import Reporter
from forge_tui.worker.command_attempt import CommandAttempt
from forge_tui.worker.command_failure import CommandFailed, failure_event
from forge_tui.worker.command_program import find_program

_LOOK_SECONDS = 0.1
_BEAT_SECONDS = 2.0
_DISK_SECONDS = 2.0


def main(sock: socket.socket, request: dict[str, Any], parent: int) -> int:
    """Carry out `request`; returns the exit status."""
    jobs = [Job.from_record(record) for record in request["jobs"]]
    runner = _Runner(sock, parent)
    if request["kind"] == "inspect":
        return _inspect(runner, jobs[0])
    return _Worker(runner, jobs[0]).run()


class _Runner:
    """The runner at the other end of the socket, and all that this worker waits for."""

    def __init__(self, sock: socket.socket, parent: int) -> None:
        self._sock, self._parent = sock, parent
        self._buffer = LineBuffer()
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._wake, bell = os.pipe()
        for end in (self._wake, bell):
            os.set_blocking(end, False)
            os.set_inheritable(end, False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self.is_signalled = False
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in STOP_SIGNALS:
            signal.signal(number, self._take_signal)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)

    def _take_signal(self, *_: object) -> None:
        self.is_signalled = True

    def follow(self, descriptors: list[int]) -> None:
        """Wait for these, too."""
        for descriptor in descriptors:
            self._selector.register(descriptor, selectors.EVENT_READ)

    def drop(self, descriptors: list[int]) -> None:
        """Do not wait for these any more."""
        for descriptor in descriptors:
            with contextlib.suppress(KeyError):
                self._selector.unregister(descriptor)

    def send(self, message: dict[str, Any]) -> None:
        """Send one line; ends the process when the runner is gone."""
        try:
            self._sock.sendall(encode_line(message))
        except OSError:
            os._exit(1)

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        """Wait for anything, at most this long; returns the runner's messages. Ends the process when it is gone."""
        ready = [key.fileobj for key, _ in self._selector.select(seconds)]
        if os.getppid() != self._parent:
            os._exit(1)
        if self._wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
        if self._sock not in ready:
            return []
        try:
            data = self._sock.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            os._exit(1)  # the fork server then ends the command
        return list(self._buffer.feed(data))


class _Worker:
    """Runs the command of one job to its end."""

    def __init__(self, runner: _Runner, job: Job) -> None:
        self._runner, self._job = runner, job
        self._place = ModelPlace(job, self._publish)
        self._report = Reporter(job, self._emit)
        self._attempt = CommandAttempt(job, self._place, self._report, runner.send, dict(os.environ))
        self._is_paused = False
        self._answer: dict[str, Any] | None = None
        self._beats, self._beat_at = 0, time.monotonic()

    def run(self) -> int:
        """Returns the exit status: 1 for a failed attempt."""
        try:
            outcome = self._train()
        except BaseException as error:  # the boundary: any end becomes data
            self._fail(error)
            return 1
        self._runner.send({"outcome": outcome.value})
        return 0

    def _train(self) -> Outcome:
        attempt = self._attempt
        self._report.enter(TrainingPhase.INITIALIZING)
        self._place.require_place()
        if (record := attempt.finished()) is not None:
            attempt.report_again(record)
            return Outcome.COMPLETED
        if not self._hold():
            return Outcome.STOPPED
        attempt.begin()
        followed = attempt.readable
        self._runner.follow(followed)
        while not attempt.is_over:
            self._obey(self._runner.wait(_LOOK_SECONDS))
            attempt.look()
            self._beat()
            self._runner.drop([one for one in followed if one not in attempt.readable])
            followed = attempt.readable
        self._runner.drop(followed)
        outcome = attempt.finish()
        return self._save() if outcome is Outcome.COMPLETED else outcome

    def _hold(self) -> bool:
        """Wait while the run is paused before the command has begun; False once it is to stop."""
        self._obey(self._runner.wait(0))
        while self._is_paused and not self._attempt.has_stopped:
            self._obey(self._runner.wait(_LOOK_SECONDS))
        return not self._attempt.has_stopped

    def _save(self) -> Outcome:
        """Write the record when the disk takes it; a stop comes first."""
        self._report.enter(TrainingPhase.SAVING)
        reported: set[int | None] = set()
        while True:
            try:
                self._attempt.write()
                return Outcome.COMPLETED
            except RunDirectoryError as error:
                if error.errno not in MAY_PASS:
                    raise
                if error.errno not in reported:
                    reported.add(error.errno)
                    self._report.warn("disk", f"{self._job.model} has ended and waits to be written: {error}")
                self._report.enter(TrainingPhase.SAVING, f"waits for the disk: {error}")
            until = time.monotonic() + _DISK_SECONDS
            while time.monotonic() < until:
                self._obey(self._runner.wait(_LOOK_SECONDS))
                self._attempt.beats += 1
                self._beat()
                if self._attempt.has_stopped:
                    return Outcome.STOPPED

    def _obey(self, messages: list[dict[str, Any]]) -> None:
        attempt = self._attempt
        for message in messages:
            match message["command"]:
                case "stop" | "leave":
                    attempt.stop()
                case "pause":
                    self._is_paused = True
                    attempt.pause()
                case "continue":
                    self._is_paused = False
                    attempt.unpause()
                case "rung":
                    if not message["continues"]:
                        attempt.stop()
                case "move":
                    self._place.move(Path(message["directory"]))
                case "published":
                    self._answer = message
                case "where":
                    self._runner.send({"where": attempt.where()})
        if self._runner.is_signalled:
            attempt.stop()

    def _beat(self) -> None:
        if self._attempt.beats != self._beats and time.monotonic() - self._beat_at >= _BEAT_SECONDS:
            self._beats, self._beat_at = self._attempt.beats, time.monotonic()
            self._runner.send({"beats": self._beats})

    def _emit(self, event: Event) -> None:
        self._runner.send(to_record(event, self._job.run))

    def _publish(self, directory: Path, job: Job, /, *, has_weights: bool = True) -> None:
        """Ask the runner to publish: only it knows whether this attempt is the current one."""
        self._answer = None
        self._runner.send({"result": job.index, "attempt": job.attempt, "weights": has_weights})
        while self._answer is None:
            self._obey(self._runner.wait(_LOOK_SECONDS))
        if self._answer["refused"] is not None:
            error = RunDirectoryError(self._answer["refused"])
            error.errno = self._answer["errno"]
            raise error

    def _fail(self, error: BaseException) -> None:
        record = to_record(failure_event(self._job, error), self._job.run)
        if isinstance(error, CommandFailed):
            if error.kind == "diverged":
                record["checkpoints"] = []
            if error.is_final:
                record["final"] = True
        elif not isinstance(error, ForgeError):
            traceback.print_exc()
        self._runner.send(record)


def _inspect(runner: _Runner, job: Job) -> int:
    """Answer the questions before a run: the program and the working directory are there. Nothing is run."""
    try:
        found = Inspection(program=find_program(job))
    except ForgeError as error:
        runner.send({"refused": str(error), "exit_status": error.exit_status})
        return 1
    while True:
        for question in runner.wait(_LOOK_SECONDS):
            if question["command"] == "stop":
                return 0
            inspections = [dataclasses.asdict(found)] * len(question["combinations"])
            runner.send({"result": {"inspections": inspections}})
