"""One attempt at a model with a command: runs it, follows it, and ends it on request. The trainer's counterpart."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forge_tui.protocol.job import Job, Outcome
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.trial_channel import PREFIX
from forge_tui.safe_io.printing import escaped
from forge_tui.settings.command import JSON, filled, pattern_of
from forge_tui.settings.replacement import used_config
from forge_tui.settings.schema import from_plain
from forge_tui.training.model_place import ModelPlace
from forge_tui.training.reporter import Reporter
from forge_tui.worker.command_failure import CommandFailed, failure_of
from forge_tui.worker.command_output import Pipe, Tail
from forge_tui.worker.command_process import CommandProcess
from forge_tui.worker.command_record import command_record, finished_record, history_of, write_record
from forge_tui.worker.command_reports import CommandReports
from forge_tui.worker.report_file import ReportFile
from forge_tui.worker.tree_meter import TreeMeter

Send = Callable[[dict[str, Any]], None]
_STDOUT = 1


class CommandAttempt:
    """Used once, in a worker of one thread. `begin` starts the command, `look` follows it until `is_over`.

    Requests of the runner are `stop`, `leave`, `pause` and `unpause`; they return at once.
    """

    def __init__(self, job: Job, place: ModelPlace, report: Reporter, send: Send, environment: dict[str, str]) -> None:
        self.job, self._place, self._report, self._send = job, place, report, send
        self._given = environment
        self.settings = from_plain(job.settings)
        self.reports = CommandReports(
            job, self.settings, report, declare=self._declare, at_rung=self._reach_rung, record=self._record
        )
        self.tail = Tail()
        self.beats = 0
        """Signs of life: reports, output, and before the first report the use of a CPU."""
        self.has_stopped = False
        """Whether a stop, or another end of this attempt, was asked for."""
        self._is_cut = False
        """Whether that was before the command had ended by itself."""
        self._command: list[str] = []
        self._process: CommandProcess | None = None
        self._pipes: list[Pipe] = []
        self._file: ReportFile | None = None
        self._meter = TreeMeter(os.getpid())
        self._kill_at: float | None = None
        self._held_since: float | None = None
        self._paused = 0.0
        self._begun = time.monotonic()
        self._started = time.time()

    # --- its life

    def finished(self) -> dict[str, Any] | None:
        """The record of an earlier attempt that has finished the model, which could not report it any more."""
        if self.job.attempt == 1:
            return None
        command = self._fill(str(self._place.files))
        return finished_record(self._place, command, self.settings.training.epochs)

    def begin(self) -> None:
        """Start the command. Raises `RunDirectoryError`, and `CommandFailed` if it cannot be run."""
        directory = str(self._place.own_directory())
        self._command = self._fill(directory)
        self._file = ReportFile(self._place, self.reports.line)
        self._file.earlier(self.reports.earlier_line)
        self.reports.begin()
        self._report.started(used_config(self.job.settings), None, 0)
        self._report.enter(TrainingPhase.TRAINING)
        parse = self.settings.run.parse
        pattern = pattern_of(parse)
        if parse == JSON:
            self._pipes = [Pipe(_STDOUT, self.tail, self.reports.json_output), Pipe(_STDOUT, self.tail)]
        else:
            self._pipes = [Pipe(_STDOUT, self.tail, None if pattern is None else self.reports.matched_by(pattern))]
        self._begun, self._started = time.monotonic(), time.time()
        self._meter.begin()
        try:
            self._process = CommandProcess(
                self._command,
                self.job.working_directory,
                self._environment(directory, self._file.path),
                out=self._pipes[0].writing,
                err=self._pipes[-1].writing,
            )
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or str(error)
            raise CommandFailed(f"{escaped(self._command[0])} cannot be run: {what}") from error
        finally:
            for pipe in self._pipes:
                pipe.close_writing()

    @property
    def readable(self) -> list[int]:
        """The descriptors that its output comes from."""
        return [pipe.reading for pipe in self._pipes if not pipe.is_at_end]

    @property
    def is_over(self) -> bool:
        """Whether the command has ended."""
        return self._process is None or self._process.returncode is not None

    def look(self) -> None:
        """Take what there is: output, reports, the end, and the time for a kill."""
        assert self._process is not None
        assert self._file is not None
        before = self.reports.progress.reports
        self.beats += sum(pipe.pump() for pipe in self._pipes)
        self._file.read()
        self.beats += self.reports.progress.reports - before
        self._process.reap()
        if self.reports.must_end and not self.is_over:
            self._end()
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._process.signal(signal.SIGKILL)
        is_busy = self._meter.look(self._send)
        self.beats += is_busy and self.reports.progress.reports == 0

    def finish(self) -> Outcome:
        """After the command's end: take the rest, and write the model's record if it is finished.

        Raises `CommandFailed` and `RunDirectoryError`.
        """
        assert self._process is not None
        assert self._file is not None
        self._process.signal(signal.SIGKILL)  # what it has left in the background
        for pipe in self._pipes:
            pipe.finish()
        self._file.finish()
        self._meter.end(self._send)
        reports, status = self.reports, self._process.returncode
        assert status is not None
        failed = failure_of(reports, status, self.tail, self._meter, was_asked=self._kill_at is not None)
        if failed is not None and (not self._is_cut or reports.diverged is not None):
            raise failed
        stops = self._is_cut and not self._is_complete(status)
        return Outcome.STOPPED if stops else Outcome.COMPLETED

    def write(self) -> None:
        """Write the finished model's record. Raises `RunDirectoryError`."""
        seconds = time.monotonic() - self._begun - self._paused
        record = command_record(
            self.job, self.settings, self._command, self.reports, started=self._started, seconds=seconds
        )
        write_record(self._place, record)
        if self._file is not None:
            self._file.remove()
        self.complete(record)

    def complete(self, record: dict[str, Any]) -> None:
        """Report the model as completed, as `record` says."""
        done, epochs = record["epochs_completed"], self.settings.training.epochs
        reason = self.reports.stopped_early
        if reason is None and epochs is not None and 0 < done < epochs:
            reason = f"its command ended after epoch {done}"
        self._report.completed(
            self._place.own_directory(),
            metrics=dict(record["metrics"]),
            seconds=record["seconds"],
            exact=None,
            best_epoch=None,
            parameters=None,
            reason=reason,
        )

    def report_again(self, record: dict[str, Any]) -> None:
        """Report the epochs that the run's history lacks, and the end, of a model that was finished before."""
        for epoch in history_of(record):
            if self.job.epochs_recorded is not None and epoch.epoch > self.job.epochs_recorded:
                self._report.epoch(epoch, epochs=record["epochs"], best_loss=record["best_loss"])
        self.complete(record)

    # --- requests

    def stop(self) -> None:
        """End it so that another attempt may follow: SIGTERM now, SIGKILL after `run.stop_seconds`."""
        self.has_stopped = True
        if self._process is not None:
            self._process.reap()
        if self._process is None or not self.is_over:
            self._is_cut = True
            self._end()

    def pause(self) -> None:
        """Stop all its processes where they are; memory is kept."""
        if self._held_since is None and self._process is not None and not self.is_over and self._kill_at is None:
            self._process.signal(signal.SIGSTOP)
            self._held_since = time.monotonic()
            self._report.enter(TrainingPhase.PAUSED)

    def unpause(self) -> None:
        """Let them continue."""
        if self._held_since is None or self._process is None:
            return
        self._process.signal(signal.SIGCONT)
        held = time.monotonic() - self._held_since
        self._paused += held
        self._held_since = None
        self.reports.held(held)
        if self._kill_at is None:
            self._report.enter(TrainingPhase.TRAINING)

    def where(self) -> str:
        """What its processes do now, and its last output, for a command that seems to hang."""
        said = self.tail.text
        return f"{self._meter.processes()}\n" + (f"its last output:\n{said}\n" if said else "it has printed nothing\n")

    def _end(self) -> None:
        if self._kill_at is not None:
            return
        self._kill_at = time.monotonic() + self.settings.run.stop_seconds
        if self._process is not None:
            self._process.signal(signal.SIGTERM)
            self.unpause()  # a stopped process does not hear it

    # --- parts

    def _fill(self, directory: str) -> list[str]:
        job, settings = self.job, self.settings
        values = {
            **settings.model,
            "seed": job.seed,
            "index": job.index,
            "name": job.model,
            "epochs": settings.training.epochs,
            "device": job.device,
            "directory": directory,
        }
        return filled(settings.run.command, values)

    def _environment(self, directory: str, channel: Path) -> dict[str, str]:
        """The command's variables: ours, those that keep it within the resource rules, and the model's."""
        job, epochs = self.job, self.settings.training.epochs
        found = {name: value for name, value in self._given.items() if not name.startswith(PREFIX)}
        found.setdefault("PYTHONUNBUFFERED", "1")  # what it prints is seen at once
        found["OMP_NUM_THREADS"] = str(job.threads)
        if not job.device.startswith("cuda"):  # otherwise this worker's own
            found["CUDA_VISIBLE_DEVICES"] = ""
        about = {
            "SEED": job.seed,
            "INDEX": job.index,
            "NAME": job.model,
            "ATTEMPT": job.attempt,
            "EPOCHS": epochs,
            "DIRECTORY": directory,
            "CHANNEL": channel,
        }
        return {**found, **{f"{PREFIX}{name}": str(value) for name, value in about.items() if value is not None}}

    def _record(self, report: dict[str, Any]) -> None:
        """Write a report that output has to the file of reports, so that a later attempt knows of it."""
        assert self._file is not None
        try:
            self._file.append(report)
        except OSError:  # the disk is full, perhaps: it is taken all the same
            self.reports.line(json.dumps(report).encode())

    def _declare(self, metrics: list[dict[str, Any]]) -> None:
        self._send({"declared": metrics, "index": self.job.index, "attempt": self.job.attempt})

    def _reach_rung(self, epoch: int, measure: float) -> None:
        self._send({"rung": self.job.index, "epoch": epoch, "loss": measure})

    def _is_complete(self, status: int) -> bool:
        """Whether a command that was asked to stop had done its work: all its epochs."""
        epochs = self.settings.training.epochs
        return status == 0 and epochs is not None and self.reports.progress.epoch >= epochs
