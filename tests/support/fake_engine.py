"""An engine without processes: the test says where its workers are, what they tell, and how they end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from forge_tui.engines.base import Ended, EndKind, Engine, Place, WorkerHandle
from forge_tui.protocol.job import Job
from forge_tui.resources.host_gpus import ClusterGpus
from forge_tui.text.exit_status import exit_in_words


class FakeWorker(WorkerHandle):
    """A worker that does nothing by itself. `heard`: the commands it was sent; `killed`: whether it was to end."""

    def __init__(
        self,
        engine: FakeEngine,
        number: int,
        jobs: Sequence[Job],
        on_message: Callable[[WorkerHandle, dict[str, Any]], None],
        on_exit: Callable[[WorkerHandle], None],
        devices: Sequence[str] = (),
    ) -> None:
        self._engine = engine
        self.devices = tuple(devices)
        self.id, self.jobs = number, tuple(jobs)
        self._on_message, self._on_exit = on_message, on_exit
        self._place: Place | None = None
        self._ended: Ended | None = None
        self.ticks_to_place: int | None = 0
        self.waits: str | None = None
        """What it waits for, in words."""
        self.heard: list[dict[str, Any]] = []
        self.killed = False

    @property
    def name(self) -> str | None:
        """Its number, once it is placed."""
        return None if self._place is None else f"fake-{self.id}"

    @property
    def place(self) -> Place | None:
        """Where it was put."""
        return self._place

    @property
    def waits_for(self) -> str | None:
        """As the test says, until it is placed."""
        return self.waits if self._place is None else None

    @property
    def ended(self) -> Ended | None:
        """How the test ended it."""
        return self._ended

    def send(self, message: dict[str, Any]) -> None:
        """Keep the command for the test."""
        self.heard.append(message)

    def kill(self) -> None:
        """Keep that; one that is not placed is withdrawn with the engine's next tick."""
        self.killed = True

    # What the test has it do

    def is_placed(self, host: str = "a") -> None:
        """A place is found for it."""
        self._place = Place(host, ",".join(self.devices) or self.jobs[0].device)

    def says(self, message: dict[str, Any]) -> None:
        """It sends a message; one that has ended can, too: so it is with a node that was only cut off."""
        self._on_message(self, message)

    def ends(self, kind: EndKind, words: str) -> None:
        """It is gone."""
        self._engine.workers.remove(self)
        self._ended = Ended(kind, words)
        self._on_exit(self)

    def exits(self, status: int) -> None:
        """Its process has ended with that status (negative: by a signal)."""
        self.ends(EndKind.SIGNAL if status < 0 else EndKind.EXIT, exit_in_words(status))

    def dies(self, kind: EndKind = EndKind.SIGNAL) -> None:
        """It ends without a word, for one of the reasons that an engine knows."""
        words = {
            EndKind.EXIT: exit_in_words(1),
            EndKind.SIGNAL: exit_in_words(-signal.SIGKILL),
            EndKind.OUT_OF_MEMORY: "was killed by the kernel for lack of memory (SIGKILL)",
            EndKind.NODE_LOST: f"was lost with node {self._place.host if self._place else '—'}",
            EndKind.NOT_PLACED: "was withdrawn before it was placed",
        }
        self.ends(kind, words[kind])


class FakeEngine(Engine):
    """Places a worker when it is asked for, or after `placing(job)` ticks (None: never)."""

    def __init__(self, placing: Callable[[Job], int | None] = lambda job: 0) -> None:
        self._placing = placing
        self.on_problem: Callable[[str], None] = lambda problem: None
        self.workers: list[FakeWorker] = []
        """Those that have not ended, the newest last."""
        self.started: list[int] = []
        """The first model of each worker that was asked for."""
        self.ahead: list[bool] = []
        """Of each of them, whether another worker was to be made ready."""
        self.on_spawn: Callable[[FakeWorker], None] = lambda worker: None
        self.room: int | None = None
        """What `capacity` says."""
        self.resident: dict[int, int] = {}
        """What `samples` says."""
        self.cluster: ClusterGpus | None = None
        """What `cluster_gpus` says."""
        self.wanted: list[tuple[int, bool]] = []
        """For how many workers GPUs were wanted, and whether those there were had no room for the next one."""
        self.pids: Callable[[FakeWorker], frozenset[int]] = lambda worker: frozenset()
        """The processes of each worker, for `owners`."""

    def start(self) -> None:
        """It is always ready."""

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
    ) -> FakeWorker:
        """A worker that waits for what the test does with it."""
        assert kind == "train"
        assert log == jobs[0].model
        worker = FakeWorker(self, len(self.started) + 1, jobs, on_message, on_exit, devices)
        self.started.append(jobs[0].index)
        self.ahead.append(ahead)
        self.workers.append(worker)
        worker.ticks_to_place = self._placing(jobs[0])
        if worker.ticks_to_place == 0:
            worker.is_placed(self._host_of(worker))
        self.on_spawn(worker)
        return worker

    def tick(self) -> None:
        """Withdraw those that are not wanted any more, and place those whose time has come."""
        for worker in [worker for worker in self.workers if worker.place is None]:
            if worker.killed:
                worker.dies(EndKind.NOT_PLACED)
            elif worker.ticks_to_place is not None:
                worker.ticks_to_place -= 1
                if worker.ticks_to_place <= 0:
                    worker.is_placed(self._host_of(worker))

    def _host_of(self, worker: FakeWorker) -> str:
        """The node of its GPUs."""
        hosts = () if self.cluster is None else self.cluster.hosts
        there = (host.host for host in hosts for gpu in host.gpus if gpu.uuid in worker.devices)
        return next(there, None) or "a"

    def cluster_gpus(self) -> ClusterGpus | None:
        """As the test says."""
        return self.cluster

    def want_gpus(self, workers: int, *, more: bool) -> None:
        """Keep that for the test."""
        if self.wanted[-1:] != [(workers, more)]:
            self.wanted.append((workers, more))

    def hang_up(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """All workers are ended."""
        self.workers.clear()

    def capacity(self) -> int | None:
        """As the test says."""
        return self.room

    def owners(self, pids: Collection[int]) -> Mapping[int, int]:
        """As the test says."""
        return {pid: worker.id for worker in self.workers for pid in self.pids(worker) if pid in pids}

    def samples(self) -> Mapping[int, int]:
        """As the test says."""
        return self.resident

    def lose(self, host: str) -> Iterable[FakeWorker]:
        """A node is lost with all workers on it; returns them."""
        lost = [worker for worker in self.workers if worker.place is not None and worker.place.host == host]
        for worker in lost:
            worker.dies(EndKind.NODE_LOST)
        return lost
