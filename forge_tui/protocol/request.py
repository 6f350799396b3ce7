"""Messages between a front end and the runner it starts, in JSON: request, reply, farewell."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to start, resume, check or plan a run.

    Without `directory` a new one is made under `runs/` in the working directory, named after date, time and model
    type. `settings` are nested plain dicts; a resume uses those of the run directory instead and may raise `epochs`.
    `accept_changes`: a resume continues with changed data or code; `trust_code`: it may run custom code of a run that
    this user has not started. `dataset` and `python_path`: where a resume finds the data and the code of a moved
    project. `engine`: `[engine]` of a resume, but for `fuse`; None: as before. With `leash` the run stops after a
    checkpoint when the caller's side of the channel closes. `name`: what a new run is called, empty: nothing.
    `profile`: as in `protocol.job.Job`.
    """

    action: Literal["start", "resume", "check", "plan"]
    directory: str | None
    working_directory: str
    settings: dict[str, Any] | None = None
    epochs: int | None = None
    previous: Literal["refuse", "move"] = "refuse"
    leash: bool = False
    accept_changes: bool = False
    trust_code: bool = False
    dataset: str | None = None
    python_path: tuple[str, ...] = ()
    engine: dict[str, Any] | None = None
    name: str = ""
    profile: float | None = None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of the request."""
        return dataclasses.asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Request:
        """The request that `to_record` wrote."""
        return cls(**{**record, "python_path": tuple(record["python_path"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """The end of a run, for a caller that may not find its directory: state, reason, directory (None: deleted)."""

    state: str
    reason: str
    directory: str | None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Farewell:
        """The farewell that `to_record` wrote."""
        return cls(**record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Whether the run has begun. If not: the reason, the exit status for it, and the error's class.

    `directory` is the run directory, `found` the result of inspecting data and model, `limit` the resource rules'
    verdict, `plan` a `plan.RunPlan`.
    """

    status: Literal["started", "checked", "planned", "refused"]
    message: str = ""
    exit_status: int = 0
    error: str = ""
    directory: str = ""
    found: dict[str, Any] | None = None
    limit: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of the reply."""
        return dataclasses.asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Reply:
        """The reply that `to_record` wrote."""
        return cls(**record)
