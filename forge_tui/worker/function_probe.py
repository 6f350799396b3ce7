"""Checks a training function before a run: import and arguments; with `--check` its first report."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import torch

from forge_tui.errors import ForgeError, SettingsError
from forge_tui.protocol.events import EpochFinished, Event, finite
from forge_tui.protocol.inspection import Inspection
from forge_tui.protocol.job import Control, Job
from forge_tui.protocol.metrics import Metrics
from forge_tui.settings.schema import from_plain
from forge_tui.settings.sweep import Combination, with_combination
from forge_tui.training import random_state
from forge_tui.training.failures import is_out_of_memory
from forge_tui.training.own_code import error_in_words
from forge_tui.training.process import prepare_process
from forge_tui.training.train_function import TrainFunction
from forge_tui.training.trial import Trial
from forge_tui.training.trial_session import TrialSession
from forge_tui.worker.inspection import with_combination_named

CHECK_SECONDS = 60.0
"""The time limit of a check, for all combinations of a sweep together."""


class _Enough(BaseException):
    """Ends a check: the first report came, or the time is over."""


class FunctionProbe:
    """Imports the function of a run and checks its arguments. Raises `SettingsError` as training would.

    No data is read and no model built, so there is no estimate of memory. A `combination` is one of a sweep; errors
    name it.
    """

    def __init__(self, job: Job, combination: Combination | None = None) -> None:
        self._job = job
        self._left = CHECK_SECONDS
        prepare_process(torch.device(job.device))
        self.take(combination or {})

    def take(self, combination: Combination) -> None:
        """Inspect a model with this combination from now on."""
        self._combination = combination
        self._plain = with_combination(self._job.settings, combination)
        with with_combination_named(combination):
            self._function = TrainFunction(from_plain(self._plain))

    def inspect(
        self, together: int = 1, rehearsal: float | None = None, is_check: bool = False, for_gpu: bool = False
    ) -> Inspection:
        """An inspection without data and model; `is_check`: the function is called until its first report.

        Raises `SettingsError` if it fails before that.
        """
        first = None
        if is_check and self._left > 0:
            with with_combination_named(self._combination):
                first = self._first_report()
        return Inspection(first_report=first)

    def _first_report(self) -> Metrics | None:
        """The metrics of the first report; None if none came in time."""
        reports: list[Metrics] = []

        def emit(event: Event) -> None:
            if isinstance(event, EpochFinished):
                reports.append(finite(event.metrics))
                raise _Enough

        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="forge-tui-check-", ignore_cleanup_errors=True) as place:
            job = replace(self._job, directory=str(Path(place) / "run"), settings=self._plain, place=None)
            Path(job.directory).mkdir(mode=0o700)
            random_state.seed_everything(job.seed)
            try:
                with _time_limit(self._left):
                    self._function.call(Trial(TrialSession(job, emit, Control())))
            except _Enough:
                pass
            except ForgeError:
                raise
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                raise SettingsError(f"{self._function} raises {error_in_words(error)}") from error
        self._left -= time.monotonic() - begun
        return reports[0] if reports else None


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `_Enough` inside after this time."""

    def end(number: int, frame: FrameType | None) -> None:
        raise _Enough

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
