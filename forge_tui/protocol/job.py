"""A worker's job, and the requests it accepts while it trains. No torch here: the runner uses this too."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from forge_tui.protocol.rollback import Rollback

_LOOK_SECONDS = 0.05
# The runner answers within a millisecond or two.
_ANSWER_SECONDS = 0.001
# Batch systems warn with one of these before they end a job: Slurm TERM or USR1, LSF and SGE USR2, a CPU limit XCPU.
# Some warn every process of the job, so runner, fork server and workers all handle them.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


def rung_passed(rungs: Collection[int], judged: int, epoch: int) -> int | None:
    """The last rung up to `epoch` that was not yet passed at the epoch `judged` (0: at the start); None: none.

    A training function need not report every epoch: its first report of a rung's epoch or later passes the rung.
    """
    return max((rung for rung in rungs if judged < rung <= epoch), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One model to train, in one attempt.

    `directory` is the run directory, `settings` the run's settings as nested plain dicts
    (`settings.schema.to_plain`), with the model's own values of a sweep. A relative dataset path is relative to
    `working_directory`. After each epoch in `rungs` the worker asks the runner whether the model continues.
    `learning_rate_factor` is below 1 after a divergence, `rollbacks` is the number of rollbacks so far, and `rollback`
    the last one if it is not over: checkpoints of later steps that were saved before it are discarded.
    `epochs_recorded`: epochs in the run's history; epochs of a checkpoint beyond them are reported again (None: none).
    `code`, `code_roots` and `code_modules` are the run's record of its custom code (`protocol.run_info.RunInfo`);
    the code, with a copy in `directory`/code, comes with the first job of a worker. `data` is the fingerprint of
    the model's data (`progress.fingerprint`; of a job to inspect, that of all the run's data); None: not known yet.
    `data_version`: how data is read that is not known yet (`Fingerprint.version`); None: in the newest way.
    `exact` is False where changes of them were accepted. `place`: device and inode of the run directory, where nothing
    may be written into another one. `inherited_step`: of earlier attempts, checkpoints up to this step count
    (`runs.checkpoint_files.Fence`). `copies`: where a machine without the data's files has them, by their paths.
    `profile`: seconds that the worker measures where its time goes (`protocol.profile`); None: it does not.
    """

    run: str
    directory: str
    working_directory: str
    model: str
    index: int
    attempt: int
    seed: int
    settings: dict[str, Any]
    threads: int
    device: str
    rungs: tuple[int, ...] = ()
    learning_rate_factor: float = 1.0
    rollbacks: int = 0
    rollback: Rollback | None = None
    epochs_recorded: int | None = None
    code: dict[str, str] = dataclasses.field(default_factory=dict)
    code_roots: dict[str, str] = dataclasses.field(default_factory=dict)
    code_modules: dict[str, str] = dataclasses.field(default_factory=dict)
    data: dict[str, Any] | None = None
    data_version: int | None = None
    exact: bool = True
    place: tuple[int, int] | None = None
    inherited_step: int | None = None
    copies: dict[str, str] = dataclasses.field(default_factory=dict)
    profile: float | None = None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of the job. Do not change it: all jobs share the settings in it."""
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**record, "rollback": None if self.rollback is None else dataclasses.asdict(self.rollback)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Job:
        """The job that `to_record` wrote."""
        rollback = None if record["rollback"] is None else Rollback(**record["rollback"])
        place = None if record["place"] is None else tuple(record["place"])
        return cls(**{**record, "rungs": tuple(record["rungs"]), "rollback": rollback, "place": place})


def models_in_words(jobs: Iterable[Job]) -> str:
    """The models of a worker: `cognate_planner_1 and 5 more`."""
    first, *more = jobs
    return f"{first.model} and {len(more)} more" if more else first.model


class Outcome(StrEnum):
    """How a trainer's run ended, if no exception ended it."""

    COMPLETED = "completed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a result could not be given its final name: the words, and the error's number."""

    message: str
    errno: int | None


class Control:
    """Requests to a trainer. Flags only, so that a signal handler can set them: work stops at a step boundary.

    `beats` counts signs of life: if it does not change for long, training hangs.
    """

    def __init__(self) -> None:
        self.beats = 0
        self.paused_seconds = 0.0
        self.on_hold: Callable[[bool], None] = lambda paused: None
        self.stop_asked_at: float | None = None
        """When a stop was first asked for (`time.monotonic`); None: not yet."""
        self._stop = False
        self._pause = False
        self._asked = False
        self._directory: str | None = None
        self._leaving: set[int] = set()
        self._rungs: dict[tuple[int, int], bool] = {}
        self._published: dict[int, Refusal | None] = {}

    def request_stop(self) -> None:
        """Ask for a checkpoint at the next step boundary, then the end. Overrides a pause."""
        if self.stop_asked_at is None:
            self.stop_asked_at = time.monotonic()
        self._stop = self._asked = True

    def pause(self) -> None:
        """Ask the trainer to pause at the next step boundary: it keeps its memory and frees the CPU."""
        self._pause = self._asked = True

    def unpause(self) -> None:
        """End a pause."""
        self._pause = False

    def move(self, directory: str) -> None:
        """Report the new place of the run directory."""
        self._directory = directory

    def take_move(self) -> str | None:
        """The new place of the run directory, once after each move; else None."""
        directory, self._directory = self._directory, None
        return directory

    def may_continue(self) -> bool:
        """Called before every step: blocks while paused; False once a stop was requested."""
        self.beats += 1
        return not self._asked or self._obey()

    def request_leave(self, index: int) -> None:
        """Ask for one model of a group to leave it after the epoch, with a checkpoint."""
        self._leaving.add(index)

    def is_asked_to_leave(self, index: int) -> bool:
        """Whether the model is to leave; it may be asked any number of times."""
        return index in self._leaving

    def pop_leave_request(self, index: int) -> bool:
        """Whether the model is to leave; clears the request."""
        if index not in self._leaving:
            return False
        self._leaving.discard(index)
        return True

    def rung(self, index: int, epoch: int, continues: bool) -> None:
        """The runner's answer about a model at a rung."""
        self._rungs[index, epoch] = continues

    def wait_for_verdict(self, index: int, epoch: int) -> bool:
        """Wait for that answer; True if a stop comes first."""
        while (index, epoch) not in self._rungs and not self._stop:
            self.beats += 1
            time.sleep(_ANSWER_SECONDS)
        return self._rungs.get((index, epoch), True)

    def published(self, index: int, refusal: Refusal | None) -> None:
        """The runner's answer about a model's result: it has its final name, or why it could not be given to it."""
        self._published[index] = refusal

    def wait_until_published(self, index: int) -> Refusal | None:
        """Wait for that answer. A stop changes nothing: the model is finished."""
        while index not in self._published:
            self.beats += 1
            time.sleep(_ANSWER_SECONDS)
        return self._published.pop(index)

    def wait(self, seconds: float) -> bool:
        """Stand by for `seconds`, not hanging; False at once when a stop is asked for."""
        deadline = time.monotonic() + seconds
        while not self._stop and time.monotonic() < deadline:
            self.beats += 1
            time.sleep(_LOOK_SECONDS)
        return not self._stop

    def _obey(self) -> bool:
        if self._pause and not self._stop:
            begun = time.perf_counter()
            self.on_hold(True)
            # Polled: a signal handler cannot take the lock of a condition.
            while self._pause and not self._stop:
                time.sleep(_LOOK_SECONDS)
            if not self._stop:
                self.on_hold(False)
            self.paused_seconds += time.perf_counter() - begun
        # Cleared first: a request in between is seen below or sets it again.
        self._asked = False
        if self._stop or self._pause:
            self._asked = True
        return not self._stop
