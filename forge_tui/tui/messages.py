"""Messages to the app and its screens: small records; stale ones are replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textual.message import Message

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.errors import ForgeError
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.resources.gpu_users import SeenGpu
    from forge_tui.resources.monitor import ResourceSample


@dataclass
class SnapshotChanged(Message):
    """A new snapshot of the watched run, and the events since the last one (without epochs)."""

    run: Run
    snapshot: Snapshot
    events: tuple[dict[str, Any], ...] = ()


@dataclass
class RunRemoved(Message):
    """The watched run was moved or deleted; `what` says which."""

    run: Run
    what: str


@dataclass
class FollowFailed(Message):
    """The watched run cannot be read any more, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request to open a run: a new one, a resumed one in `path`, or one to attach to in `path`."""

    how: Literal["start", "resume", "attach"]
    path: Path | None = None
    epochs: int | None = None

    @property
    def starts(self) -> bool:
        """Whether it starts a runner."""
        return self.how != "attach"


@dataclass
class RunOpened(Message):
    """A run was opened."""

    request: OpenRequest
    run: Run


@dataclass
class RunRefused(Message):
    """A run could not be opened."""

    request: OpenRequest
    error: ForgeError


@dataclass
class StartRefused(Message):
    """A new run could not begin, with the reason. For the screen in front."""

    reason: str


@dataclass
class CommandsAnswered(Message):
    """The runner's answers to the commands called `name`; `waiting`: how many it did not answer in `seconds`.

    `error` says why they could not be sent. `run`: the run that they are about, if it is not the watched one.
    """

    name: str
    answers: list[dict[str, Any]]
    waiting: int = 0
    seconds: float = 0.0
    error: str = ""
    run: str = ""


@dataclass
class LiveRunsCounted(Message):
    """How many of the known runs are live."""

    count: int


@dataclass
class ResourcesChanged(Message):
    """A new sample of the machine, and its GPUs with who is on them."""

    sample: ResourceSample
    gpus: tuple[SeenGpu, ...] = ()

    def can_replace(self, message: Message) -> bool:
        """Only the newest sample counts."""
        return isinstance(message, ResourcesChanged)


@dataclass
class ThreadDone(Message):
    """Work in a thread is done; call `then` with its result or error."""

    then: Callable[[Any], None]
    result: Any
