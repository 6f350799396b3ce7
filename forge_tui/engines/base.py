"""The interface of an engine: starts workers, passes messages, and reports where a worker runs and how it ended.

An engine and its workers belong to the thread that waits on the runner's selector: it makes all calls, and callbacks
run in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from forge_tui.protocol.job import Job
from forge_tui.resources.devices import DeviceChoice
from forge_tui.resources.host_gpus import ClusterGpus
from forge_tui.resources.node_limit import NodeLimit


class EndKind(StrEnum):
    """How a worker ended, according to its engine.

    `NOT_PLACED`: it never ran, because it was withdrawn or there is no place for it.
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
    """Where a worker runs: the machine's name, and the device.

    `device`: the UUID of its GPU (of several, with commas between), or `cpu` or `mps`.
    """

    host: str
    device: str


class WorkerHandle(ABC):
    """The runner's handle of a worker, with its models.

    `id` is its number, unique in its engine.
    """

    id: int
    jobs: tuple[Job, ...]

    @property
    @abstractmethod
    def name(self) -> int | str | None:
        """The engine's name for it, such as a process id; None while requested but not placed."""

    @property
    @abstractmethod
    def place(self) -> Place | None:
        """Where it runs; None while requested but not placed."""

    @property
    @abstractmethod
    def ended(self) -> Ended | None:
        """How it ended; None while it runs or is requested."""

    @property
    def waits_for(self) -> str | None:
        """What it needs of a place, in words, while it waits for one: `1 CPU, 2 GiB`; None: it does not wait."""
        return None

    @abstractmethod
    def send(self, message: dict[str, Any]) -> None:
        """Send a command. A worker that is not placed gets it later; one that has ended ignores it."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once; a worker that is not placed is withdrawn, and never runs. Its `on_exit` follows."""


class Engine(ABC):
    """Starts workers and reports their messages and how they end.

    A worker's `on_exit` is called once, when no part of it runs or can reach the run, and its output is in its log;
    `on_message` is never called after that. Close the engine: no worker outlives it.
    """

    on_problem: Callable[[str], None]
    """Called with a problem of a worker's output, in words."""

    @abstractmethod
    def start(self) -> None:
        """Prepare in the background. `spawn` does it otherwise."""

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
        devices: Sequence[str] = (),
    ) -> WorkerHandle:
        """Request a worker that does `kind` ("train", "inspect" or "devices") with `jobs`.

        `log` gets its output, or the runner's log.

        `ahead`: another worker will be requested when one ends, so the engine may prepare one. `devices`: the GPUs that
        it sees, by UUID, of one node; none: it sees what the runner sees, or the node.
        """

    @abstractmethod
    def tick(self) -> None:
        """Check for what no message reports; called about ten times per second."""

    @abstractmethod
    def hang_up(self) -> None:
        """End every worker; `close` waits until they are gone."""

    @abstractmethod
    def close(self) -> None:
        """End every worker, and wait until they are gone. A later `spawn` starts the engine again."""

    @abstractmethod
    def capacity(self) -> int | None:
        """How many more workers it can place now; None: limited by the resource rules only."""

    def nodes(self) -> Sequence[NodeLimit] | None:
        """What the rules allow on each machine of a cluster; None: workers run on this machine, and the runner applies
        its rules. May wait until the cluster is there. Raises `ForgeError` if it cannot be used."""
        return None

    def choose_devices(self, kept: str | None = None) -> DeviceChoice | None:
        """The devices of a run on the nodes of a cluster, after `nodes`; None: the runner chooses on this machine.

        `kept`: the kind of device of the run that is resumed. Raises `UsageError` if what is wanted is not there.
        """
        return None

    def cluster_gpus(self) -> ClusterGpus | None:
        """The GPUs of a cluster's nodes, the same object while nothing changes; None: the run is on this machine, or
        on CPUs."""
        return None

    def want_gpus(self, workers: int, *, more: bool) -> None:  # noqa: B027 - only a cluster has to be asked for them
        """Note for how many workers the run can use GPUs; `more`: those that it has leave no room for the next one."""

    def expect(self, cpus: int, memory: int | None) -> None:  # noqa: B027 - most engines need not know it
        """Note what each worker will need: CPUs, and bytes of memory (None: unknown) until one was measured."""

    @abstractmethod
    def owners(self, pids: Collection[int]) -> Mapping[int, int]:
        """The workers, by `id`, whose processes these are: their own, or started by them. Without others' processes."""

    @abstractmethod
    def samples(self) -> Mapping[int, int]:
        """Resident memory (bytes) of each worker now, by its `id`; without workers whose memory is unknown."""
