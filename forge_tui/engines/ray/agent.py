"""The node agent: one per node of the cluster. It holds our fork server and carries out what the runner asks.

Ray calls `tell` with what the runner sends, and `listen` for what the runner is to hear; both take and give frames,
each is called by one caller that waits for the answer, so that everything stays in order. All else happens in one
thread of the agent, with the local engine. Messages of the agent have `a`, those of the runner `do`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from forge_tui.engines.base import Ended, EndKind, WorkerHandle
from forge_tui.engines.local import LocalEngine, LocalWorker
from forge_tui.engines.ray.facts import facts_here
from forge_tui.engines.ray.frames import Message, decode
from forge_tui.engines.ray.node_files import NodeFiles, Wanted
from forge_tui.engines.ray.node_gpus import NodeGpus, node_environment
from forge_tui.engines.ray.outbox import Outbox
from forge_tui.engines.ray.relayed import Relay, RelayedOutputs
from forge_tui.engines.ray.room import NodeLoad, NodeRoom
from forge_tui.engines.ray.sampler import Sampler
from forge_tui.errors import ForgeError
from forge_tui.protocol.job import Job
from forge_tui.resources.policy import OnDevices
from forge_tui.resources.visible_devices import VARIABLE
from forge_tui.runs.location import Identity
from forge_tui.settings.replacement import what_trains
from forge_tui.settings.schema import Settings, from_plain

SILENT_SECONDS = 20.0
"""An agent that hears nothing from the runner for this long ends its workers: others may train their models by now."""
STATE_SECONDS = 2.0
LISTEN_SECONDS = 1.0
_TICK_SECONDS = 0.1
_MOST_OUTPUT = 8 << 20
_ORPHANED = Ended(EndKind.NODE_LOST, f"was ended by its node, which had heard nothing for {SILENT_SECONDS:g} s")


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker of this node, by the runner's number for it."""

    number: int
    jobs: list[Job]
    local: LocalWorker | None = None
    unsent: list[dict[str, Any]] = field(default_factory=list)
    """Commands that came while its files were fetched."""
    is_killed: bool = False
    is_shipped: bool = False
    is_announced: bool = False
    peak: int | None = None
    devices: tuple[str, ...] = ()
    outcome: str | None = None
    is_orphaned: bool = False


class NodeAgent:
    """Carries out the runner's commands on one node. Its thread begins with the first command."""

    def __init__(self) -> None:
        self._inbox: deque[bytes] = deque()
        self._outbox = Outbox()
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._heard = time.monotonic()
        self._lost_output = 0
        self._thread: threading.Thread | None = None

    # --- called by Ray

    def tell(self, batch: bytes) -> None:
        """Take frames from the runner."""
        self._heard = time.monotonic()
        self._inbox.append(batch)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="node agent", daemon=True)
            self._thread.start()
        with contextlib.suppress(BlockingIOError):  # it rings already
            self._ringer.send(b"!")

    def listen(self) -> bytes:
        """The next frames for the runner; empty if there are none within a second."""
        return self._outbox.take(LISTEN_SECONDS)

    # --- the thread

    def _serve(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._bell, selectors.EVENT_READ, self._take)
                self._work(selector)
        except ForgeError as error:
            self._outbox.put({"a": "broken", "why": str(error)})
        except Exception as error:  # the boundary of the agent: the runner gets the reason
            traceback.print_exc()
            self._outbox.put({"a": "broken", "why": f"its agent failed ({type(error).__name__}: {error})"})

    def _work(self, selector: selectors.BaseSelector) -> None:
        (setup, _), *rest = decode(self._inbox.popleft())
        node = _Node(setup, selector, self._outbox, self._output)
        with contextlib.closing(node):
            for message, data in rest:
                node.obey(message, data)
            while not node.is_dismissed:
                for key, _ in selector.select(_TICK_SECONDS):
                    key.data()
                while self._inbox:
                    for message, data in decode(self._inbox.popleft()):
                        node.obey(message, data)
                node.tick(silent=time.monotonic() - self._heard)

    def _take(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass

    def _output(self, name: str, data: bytes) -> None:
        """Relay a worker's output; if the runner does not keep up, the newest is dropped, and that is said."""
        number = int(name)
        if self._outbox.bulk_bytes > _MOST_OUTPUT:
            self._lost_output += len(data)
            return
        if self._lost_output:
            lost, self._lost_output = self._lost_output, 0
            words = f"\n[forge-tui: {lost} bytes of output of this node were lost here: the runner did not keep up]\n"
            self._outbox.put({"a": "output", "w": number}, words.encode(), is_bulk=True)
        self._outbox.put({"a": "output", "w": number}, data, is_bulk=True)


class _Node:
    """This node, from the runner's setup on (`setup.setup_of`)."""

    def __init__(self, setup: Message, selector: selectors.BaseSelector, outbox: Outbox, relay: Relay) -> None:
        self._outbox = outbox
        self._settings: Settings = from_plain(setup["settings"])
        visible = _take_environment(setup["environment"])
        self._outputs = RelayedOutputs(relay)
        trains = what_trains(self._settings)
        self._engine = LocalEngine(selector, None, setup["nice"], self._outputs, self._settings.run.seed, trains=trains)
        self._engine.on_problem = self._problem
        self._engine.start()
        self._room = NodeRoom(self._settings.resources)
        self._sampler = Sampler(self._settings.resources)
        self._workers: dict[int, _Worker] = {}
        self._by_local: dict[int, _Worker] = {}
        self._stated_at = float("-inf")
        self.is_dismissed = False
        self._files: NodeFiles | None = None
        self._gpus = NodeGpus(self._settings, setup["directory"], self._engine, self._sampler, visible)
        self._hello: Message | None = {
            "a": "hello",
            "facts": facts_here(),
            "is_shared": _sees(Path(setup["directory"]), setup["marker"], setup["mark"]),
            "missing": [path for path in setup["data"] if not os.path.exists(path)],
        }
        self._say_hello()

    def _say_hello(self) -> None:
        """Say what this node is, once it is known what torch can use here."""
        if self._hello is None or not self._gpus.is_known:
            return
        seen = [gpu.to_record() for gpu in self._sampler.seen()]
        self._outbox.put({**self._hello, "devices": self._gpus.to_record(), "seen": seen, **self._state()})
        self._hello = None

    def close(self) -> None:
        """End all workers and the fork server."""
        self._sampler.close()
        self._engine.close()
        self._outputs.close(1.0)
        if self._files is not None:
            self._files.close()

    def obey(self, message: Message, data: bytes) -> None:
        """Carry out one command."""
        match message["do"]:
            case "alive":
                self._room.cpus, self._room.estimate = message["cpus"], message["memory"]
                per_model = self._settings.resources.devices_per_model
                self._room.on = OnDevices(message["gpus"], per_model) if message["gpus"] else None
            case "spawn":
                self._spawn(message)
            case "send":
                self._pass_on(message["w"], message["m"])
            case "kill":
                worker = self._workers.get(message["w"])
                if worker is not None:
                    worker.is_killed = True
                    if worker.local is not None:
                        worker.local.kill()
            case "piece":
                assert self._files is not None
                self._files.take(message, data)
            case "code":
                assert self._files is not None
                wanted = [Wanted(**message["file"])]
                self._files.fetch(message["w"], wanted, lambda _: self._pass_on(message["w"], message["m"]))
            case "dismiss":
                self.is_dismissed = True

    def _pass_on(self, number: int, message: dict[str, Any]) -> None:
        worker = self._workers.get(number)
        if worker is not None and worker.local is None:
            worker.unsent.append(message)
        elif worker is not None and worker.local is not None:
            worker.local.send(message)

    def _spawn(self, message: Message) -> None:
        jobs = [Job.from_record(record) for record in message["jobs"]]
        jobs = [replace(job, exact=job.exact and message["exact"]) for job in jobs]
        manifest = message["manifest"]
        worker = self._workers[message["w"]] = _Worker(message["w"], jobs, is_shipped=manifest is not None)
        if manifest is None:
            try:
                here = [_in_place(job) for job in jobs]
            except OSError as error:
                words = f"could not start: {jobs[0].directory}: {error.strerror}"
                self._leave(worker, Ended(EndKind.EXIT, words))
                return
            self._fork(worker, here, message)
            return
        if self._files is None:
            self._files = NodeFiles(self._outbox, jobs[0].run)
        files = self._files
        files.clear(jobs)

        def fetched(problem: str | None) -> None:
            if problem is not None:
                self._leave(worker, Ended(EndKind.EXIT, f"could not start: {problem}"))
            elif worker.is_killed:
                self._leave(worker, Ended(EndKind.NOT_PLACED, "was withdrawn before it was placed"))
            else:
                self._fork(worker, [files.here(job, manifest["data"]) for job in jobs], message)

        files.fetch(worker.number, [Wanted(**one) for one in manifest["files"]], fetched)

    def _fork(self, worker: _Worker, jobs: list[Job], message: Message) -> None:
        worker.devices, log = tuple(message["devices"]), str(worker.number)
        local = self._engine.spawn(
            "train", jobs, log, self._on_message, self._on_exit, ahead=message["ahead"], devices=worker.devices
        )
        worker.local = local
        self._by_local[local.id] = worker
        for message in worker.unsent:
            local.send(message)
        worker.unsent.clear()

    def tick(self, silent: float) -> None:
        """Check for what no message reports; `silent`: seconds since the runner was last heard."""
        self._engine.tick()
        self._say_hello()
        self._announce()
        if silent >= SILENT_SECONDS:
            for worker in self._workers.values():
                worker.is_orphaned = worker.is_killed = True
                if worker.local is not None:
                    worker.local.kill()
        now = time.monotonic()
        if now - self._stated_at >= STATE_SECONDS:
            self._take_back(now)
            self._tell_state()

    def _announce(self) -> None:
        for worker in self._workers.values():
            local = worker.local
            if not worker.is_announced and local is not None and local.pid is not None:
                worker.is_announced = True
                self._outbox.put({"a": "placed", "w": worker.number, "pid": local.pid})

    def _take_back(self, now: float) -> None:
        """End the newest worker after a checkpoint where memory is short."""
        why = self._room.must_go(self._sampler.now(), len(self._workers), now)
        if why is not None:
            newest = max(self._workers)
            local = self._workers[newest].local
            if local is not None:
                self._problem(f"its newest worker makes room after a checkpoint: {why}")
                local.send({"command": "stop"})

    def _tell_state(self) -> None:
        if self._hello is not None:
            return  # this comes first
        self._outbox.put({"a": "state", **self._state()})

    def _state(self) -> Message:
        now = self._stated_at = time.monotonic()
        resident = self._engine.samples()
        loads = []
        held: dict[str, int] = {}
        for worker in self._workers.values():
            here = None if worker.local is None else resident.get(worker.local.id)
            loads.append(NodeLoad(worker.peak, here))
            if here is not None:
                held[str(worker.number)] = here
        resources = self._sampler.now()
        return {
            "limit": asdict(self._room.limit(resources, loads, now)),
            "resident": held,
            "cpus": resources.cpu_count,
            "memory_gb": resources.memory_gb,
            "available_gb": resources.available_memory_gb,
            **self._gpus.state({one: worker.number for one, worker in self._by_local.items()}),
        }

    def _problem(self, words: str) -> None:
        self._outbox.put({"a": "problem", "words": words})

    def _on_message(self, local: WorkerHandle, message: dict[str, Any]) -> None:
        worker = self._by_local.get(local.id)
        if worker is None or worker.is_orphaned:
            return
        self._announce()
        if "memory" in message:
            worker.peak = message["memory"]
            self._room.measured(message["memory"])
        worker.outcome = message.get("outcome", worker.outcome)
        index = message.get("index", message.get("result"))
        job = next((job for job in worker.jobs if job.index == index), None)
        if worker.is_shipped and job is not None and self._files is not None:
            if self._files.send(worker.number, job, message):
                return  # behind the files that it names
            message = self._files.outward(job, message)
        self._outbox.put({"a": "says", "w": worker.number, "m": message})

    def _on_exit(self, local: WorkerHandle) -> None:
        assert local.ended is not None
        self._leave(self._by_local.pop(local.id), local.ended)

    def _leave(self, worker: _Worker, ended: Ended) -> None:
        """Report the end of a worker."""
        del self._workers[worker.number]
        ended = _ORPHANED if worker.is_orphaned else ended
        if ended.kind is EndKind.OUT_OF_MEMORY:
            self._room.ran_out(len(self._workers), time.monotonic())
        if worker.devices and worker.outcome != "completed":
            self._sampler.look_anew()  # the runner then knows what the driver says of its GPU now
            self._tell_state()
        # Messages overtake the output, so the end is reported when all of the output has arrived.
        end: Message = {"a": "ended", "w": worker.number, "kind": ended.kind.value, "words": ended.words}
        if worker.is_shipped and self._files is not None:
            end["kept"] = {job.model: self._files.kept(job.model) for job in worker.jobs}
            self._files.send_behind(worker.number, end)
        else:
            self._outbox.put(end, is_bulk=True)
        self._tell_state()


def _in_place(job: Job) -> Job:
    """A job in the shared run directory, whose identity differs from machine to machine."""
    identity = Identity.of(Path(job.directory))
    return replace(job, place=(identity.device, identity.inode))


def _take_environment(wanted: Mapping[str, str | None]) -> Mapping[str, str]:
    """Set the variables that libraries of training code read as the runner has them: Ray sets some of its own.

    Returns the environment that decides which GPUs are visible, the node's.
    """
    given = node_environment()
    wanted = dict(wanted) if given is None else {**wanted, VARIABLE: given.get(VARIABLE)}
    for name, value in wanted.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return os.environ if given is None else given


def _sees(directory: Path, marker: str, mark: str) -> bool:
    """Whether this node sees the runner's run directory, by a file that was just written there, and may write in it."""
    try:
        return (directory / marker).read_text() == mark and os.access(directory, os.W_OK | os.X_OK)
    except (OSError, ValueError):
        return False
