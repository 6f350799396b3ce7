"""What reaches the screens: tiny records, the stale ones replaceable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.message import Message

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.resources.monitor import ResourceSample


@dataclass
class SnapshotChanged(Message):
    """A new snapshot of the run that is watched, and what happened since the last one (without epochs)."""

    run: Run
    snapshot: Snapshot
    events: tuple[dict[str, Any], ...] = ()


@dataclass
class ResourcesChanged(Message):
    """A new sample of the machine."""

    sample: ResourceSample

    def can_replace(self, message: Message) -> bool:
        """Only the newest sample counts."""
        return isinstance(message, ResourcesChanged)


@dataclass
class StartRefused(Message):
    """A run could not begin: why, in words."""

    reason: str


@dataclass
class ThreadDone(Message):
    """Work in a thread is done; `then` is to be called with its result or error."""

    then: Callable[[Any], None]
    result: Any
