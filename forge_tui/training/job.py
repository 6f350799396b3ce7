"""What a worker is told to do, and what it may be asked while it does it. No torch here: the runner uses this too."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One model to train, in one attempt.

    `directory` is the run directory, `settings` the run's settings as nested plain dicts
    (`settings.schema.to_plain`). A relative dataset path counts from `working_directory`.
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

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of the job."""
        return dataclasses.asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Job:
        """The job that `to_record` wrote."""
        return cls(**record)


class Outcome(StrEnum):
    """How a trainer's run ended, if no exception ended it."""

    COMPLETED = "completed"
    STOPPED = "stopped"


class Control:
    """What others ask of a trainer. Flags only: the trainer looks at them at every step boundary."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def request_stop(self) -> None:
        """Ask for a checkpoint at the next step boundary, then the end."""
        self._stop.set()

    @property
    def stop_requested(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop.is_set()
