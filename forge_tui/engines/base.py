"""What the runner asks of an engine: start workers, carry messages, say where a worker is and how it ended.

An engine and its workers belong to the thread that waits on the runner's selector: that thread makes all calls, and the
callbacks run in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from forge_tui.protocol.job import Job


class EndKind(StrEnum):
    """How a worker ended, as its engine knows it.

    `NOT_PLACED`: nothing of it ever ran, because it was withdrawn or there is no place for it.
    """

    EXIT = "exit"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    NODE_LOST = "node_lost"
    NOT_PLACED = "not_placed"


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a worker. `words` follow its name: `was killed by SIGKILL`."""

    kind: EndKind
    words: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker runs: the machine's name, and the device as in `[resources] device`."""

    host: str
    device: str


class WorkerHandle(ABC):
    """A worker as the runner sees it, with the models it was asked for.

    `id` is its number, which its engine gives to no other.
    """

    id: int
    jobs: tuple[Job, ...]

    @property
    @abstractmethod
    def name(self) -> int | str | None:
        """The engine's name for it, such as a process id; None while it is asked for but not placed."""

    @property
    @abstractmethod
    def place(self) -> Place | None:
        """Where it runs; None while it is asked for but not placed."""

    @property
    @abstractmethod
    def ended(self) -> Ended | None:
        """How it ended; None while it runs or is asked for."""

    @abstractmethod
    def send(self, message: dict[str, Any]) -> None:
        """Send a command. One that is not placed gets it when it is; one that has ended does not mind."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once; one that is not placed is withdrawn, and never runs. Its `on_exit` follows."""


class Engine(ABC):
    """Starts workers and reports what they say and how they end.

    A worker's `on_exit` is called once, when nothing of it runs any more or can reach the run, and its output is in its
    log; `on_message` is never called after that. Close the engine: no worker outlives it.
    """

    on_problem: Callable[[str], None]
    """Called with what is wrong with a worker's output, in words."""

    @abstractmethod
    def start(self) -> None:
        """Get ready in the background. `spawn` does so, too, where that was not called."""

    @abstractmethod
    def spawn(
        self,
        kind: str,
        jobs: Sequence[Job],
        log: str | None,
        on_message: Callable[[WorkerHandle, dict[str, Any]], None],
        on_exit: Callable[[WorkerHandle], None],
        *,
        ahead: bool = False,
    ) -> WorkerHandle:
        """Ask for a worker that does `kind` ("train" or "inspect") with `jobs`; the log of its output, or the runner's.

        `ahead`: another one will be asked for when one ends, so that the engine may prepare one.
        """

    @abstractmethod
    def tick(self) -> None:
        """Look after what no message tells; called about ten times a second."""

    @abstractmethod
    def hang_up(self) -> None:
        """End every worker; `close` waits until they are gone."""

    @abstractmethod
    def close(self) -> None:
        """End every worker, and wait until they are gone. A later `spawn` starts the engine again."""

    @abstractmethod
    def capacity(self) -> int | None:
        """How many more workers it can place now; None: as many as the resource rules allow."""

    @abstractmethod
    def samples(self) -> Mapping[int, int]:
        """Bytes of memory that each worker has resident now, by its `id`; without those of which it is not known."""
