"""The Ray engine, in the runner: places workers on the nodes of a cluster, and passes messages on.

It imports no Ray: a bridge process is Ray's driver (`bridge`). Workers that inspect data run on this machine, where the
user's files are.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from forge_tui.engines.base import Ended, EndKind, Engine, WorkerHandle
from forge_tui.engines.local import LocalEngine
from forge_tui.engines.output import Outputs
from forge_tui.engines.ray.data_files import data_files_of
from forge_tui.engines.ray.frames import Frame, Message, decode, encode
from forge_tui.engines.ray.gpu_room import GpuRoom
from forge_tui.engines.ray.holds import Holds
from forge_tui.engines.ray.link import BridgeLink, Link, OpenLink
from forge_tui.engines.ray.marker import Marker
from forge_tui.engines.ray.members import Members
from forge_tui.engines.ray.placing import problem_of
from forge_tui.engines.ray.remote import Node, RayWorker, Shape
from forge_tui.engines.ray.scratch import make_scratch, remove_scratch
from forge_tui.engines.ray.setup import setup_of
from forge_tui.engines.ray.shipping import Manifest
from forge_tui.engines.ray.slots import Slots
from forge_tui.engines.ray.transfers import Transfers
from forge_tui.errors import ForgeError, UsageError
from forge_tui.protocol.job import Job
from forge_tui.resources.devices import DeviceChoice
from forge_tui.resources.host_gpus import ClusterGpus
from forge_tui.resources.node_devices import device_rule
from forge_tui.resources.node_limit import NodeLimit
from forge_tui.resources.policy import GIB, WorkerLimit
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.schema import Settings

SILENT_SECONDS = 30.0
"""A node whose agent says nothing for this long counts as lost: by then it has ended its workers (`agent`)."""
ALIVE_SECONDS = 2.0
START_SECONDS = 120.0
"""How long a start waits for the cluster, and for the agents of the nodes that it has."""
# The end of a worker waits at most this long for a disk to write its last output.
_OUTPUT_SECONDS = 1.0
_NODE_GONE = Ended(EndKind.NODE_LOST, "was lost with the node of its GPUs before it was placed")
_WITHDRAWN = Ended(EndKind.NOT_PLACED, "was withdrawn before it was placed")


def usable_cpus() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class RayEngine(Engine):
    """Workers on the nodes of a Ray cluster. All calls and callbacks are in the thread that waits on `selector`."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        inspecting: LocalEngine,
        outputs: Outputs,
        settings: Settings,
        directory: RunDirectory,
        *,
        nice: int,
        open_link: OpenLink = BridgeLink,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`inspecting` starts the workers that inspect; `outputs` get the output of all workers and of the bridge.

        `nice`: the priority of workers.
        """
        self._selector, self._inspecting, self._outputs = selector, inspecting, outputs
        self._settings, self._directory, self._nice = settings, directory.path, nice
        self._open_link, self._monotonic = open_link, monotonic
        self._early_problems: list[str] = []
        self.on_problem: Callable[[str], None] = self._early_problems.append
        self._link: Link | None = None
        self._marker: Marker | None = None
        self._scratch: str | None = None
        self._transfers: Transfers | None = None
        self._members = Members(settings, self._tell_problem)
        self._slots = Slots(self._send, self._start_in_slot, monotonic)
        self._holds = Holds(self._send, monotonic, settings.resources.devices_per_model)
        self._gpu_room = GpuRoom(self._members, self._slots, self._holds, monotonic)
        self._homeless: list[RayWorker] = []
        """Workers whose node was lost as they were requested."""
        self._ending: list[tuple[RayWorker, int, float]] = []
        """Workers whose last output is being written: the last byte, and until when to wait for it."""
        self._free: tuple[tuple[int, int, int], int] | None = None
        """What `capacity` found last, and when that holds."""
        self.workers: dict[int, RayWorker] = {}
        """Those that have not ended."""
        self._count = 0
        self._is_ready = self._is_hung_up = False
        self._refused: str | None = None
        self._gone: str | None = None
        self._alive_at = float("-inf")
        self._cpus = 1
        self._memory: int | None = None

    # --- the cluster

    def start(self) -> None:
        """Start the cluster or connect to it in the background, and the fork server for inspections."""
        self._inspecting.start()
        self._open()

    def _open(self) -> None:
        if self._link is not None:
            return
        self._is_hung_up = False
        self._marker = Marker(self._directory)
        _output, writing = self._outputs.pipe(None)
        try:
            self._link = self._open_link(self._selector, self._take, self._lose_all, writing)
        finally:
            os.close(writing)
        engine = self._settings.engine
        self._scratch = make_scratch() if engine.address is None else None
        options = {"address": engine.address, "trust": engine.trust_cluster, "scratch": self._scratch}
        setup = setup_of(self._settings, self._directory, self._marker, self._nice)
        self._send({"do": "open", **options, "cpus": usable_cpus()}, encode(setup))

    def nodes(self) -> Sequence[NodeLimit]:
        """What the rules allow on every node; waits for the cluster the first time.

        Raises `UsageError` if it cannot be used, or none of its nodes can.
        """
        if not self._is_ready:
            self._wait_for_cluster()
        return self._members.limits(self._cpus)

    def _wait_for_cluster(self) -> None:
        self._open()
        deadline = self._monotonic() + START_SECONDS
        while not self._members.are_settled:
            for key, _ in self._selector.select(0.1):
                key.data()
            self._inspecting.tick()
            self._beat()
            if self._refused is not None:
                raise UsageError(self._refused)
            if self._gone is not None:
                raise ForgeError(self._gone)
            if self._monotonic() > deadline:
                raise ForgeError(
                    f"the Ray cluster is not ready after {START_SECONDS:g} s; `ray status` shows whether nodes answer"
                )
        self._choose_files()
        if not self._members.used():
            raise UsageError(f"no node of the Ray cluster can be used: {self._members.why_none}")
        self._is_ready = True

    def _choose_files(self) -> None:
        self._members.choose_files()
        if not self._members.is_shared:
            keep = self._settings.run.keep_checkpoints
            self._transfers = Transfers(self._selector, self._directory, keep, self._transmit, self._tell_problem)

    def choose_devices(self, kept: str | None = None) -> DeviceChoice:
        """The devices of the run on the nodes that are there now. Raises `UsageError`."""
        self.nodes()
        resources = self._settings.resources
        nodes = [node.devices for node in self._members.used() if node.devices is not None]
        rule, reason = device_rule(resources.device, nodes, resources.devices_per_model, kept)
        self._members.choose_devices(rule)
        self._alive_at = float("-inf")  # the nodes' limits depend on it
        uuids = tuple(uuid for node in self._members.used() for uuid in node.uuids)
        return DeviceChoice(rule.kind, uuids, reason)

    def cluster_gpus(self) -> ClusterGpus | None:
        """The GPUs of the nodes; None for a run on CPUs."""
        if not self._members.are_for_gpus:
            return None
        return self._gpu_room.look(self.workers.values(), self._cpus)

    def want_gpus(self, workers: int, *, more: bool) -> None:
        """Ask Ray for GPUs for so many workers."""
        if self._members.are_for_gpus:
            in_use = {uuid for worker in self.workers.values() for uuid in worker.devices}
            self._holds.want(workers, more=more)
            self._holds.balance(self._members.used(), in_use)

    def report(self) -> list[dict[str, Any]]:
        """What is known of every node, used or refused, for `doctor`; after `nodes`."""
        return self._members.report(self._cpus)

    def expect(self, cpus: int, memory: int | None) -> None:
        """Note what a worker needs: CPUs, and bytes of memory until one has been measured."""
        self._cpus, self._memory = cpus, memory
        self._alive_at = float("-inf")  # the first message to the nodes is sent at once

    def tick(self) -> None:
        """Tell the nodes that the runner lives, give up silent ones, withdraw, place and release."""
        self._inspecting.tick()
        problem = self._outputs.take_problem()
        if problem is not None:
            self.on_problem(problem)
        if self._early_problems and self.on_problem != self._early_problems.append:
            early, self._early_problems = self._early_problems, []
            for words in early:
                self.on_problem(words)
        if self._gone is not None:
            raise ForgeError(f"{self._gone}; `resume` continues the run when the cluster is there again")
        self._beat()
        self._report_ends()
        self._withdraw()
        self._reserve()
        self._slots.release_idle()

    def _beat(self) -> None:
        """Tell every agent that the runner lives, and what a worker needs; give up those that do not answer."""
        now = self._monotonic()
        if now - self._alive_at < ALIVE_SECONDS:
            return
        self._alive_at = now
        for node in self._members.all():
            if now - node.heard > SILENT_SECONDS:
                self._send({"do": "drop", "node": node.key})
                self._lose(node.key, f"it has not answered for {SILENT_SECONDS:g} s")
        alive = {"do": "alive", "cpus": self._cpus, "memory": self._memory}
        for node in self._members.all():
            self._send({"do": "tell", "node": node.key}, encode({**alive, "gpus": len(node.uuids)}))

    def hang_up(self) -> None:
        """End every worker and the bridge; `close` waits until they are gone."""
        self._is_hung_up = True
        if self._link is not None:
            self._link.hang_up()
        self._inspecting.hang_up()

    def close(self) -> None:
        """End every worker, the agents, and a cluster that was started, and wait until they are gone."""
        self.hang_up()
        if self._link is not None:
            self._link.close()
            self._link = None
        remove_scratch(self._scratch)  # the bridge does, unless it was killed
        self._scratch = None
        self._inspecting.close()
        for worker in self.workers.values():
            self._outputs.let_go(worker.log)
        self.workers.clear()
        self._ending.clear()
        self._slots.clear()
        self._holds.clear()
        self._homeless.clear()
        self._members.clear()
        self._is_ready = False
        if self._transfers is not None:
            self._transfers.close()
            self._transfers = None
        if self._marker is not None:
            self._marker.remove()
            self._marker = None

    # --- workers

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
        """Request a worker; one that trains waits for a slot on some node, or on that of its GPUs."""
        if kind != "train":
            return self._inspecting.spawn(kind, jobs, log, on_message, on_exit, ahead=ahead, devices=devices)
        self._inspecting.close()  # what it imported takes memory, and nothing is inspected any more
        self.nodes()  # the engine may have been closed while the run waited for another one
        self._cpus = self._cpus_of(jobs[0])
        self._count += 1
        worker = RayWorker(
            id=self._count,
            jobs=tuple(jobs),
            shape=self._shape(jobs[0], devices),
            devices=tuple(devices),
            log=self._outputs.hold(log),
            on_message=on_message,
            on_exit=on_exit,
            ahead=ahead,
            transmit=self._transmit,
            why_not=self._why_not,
        )
        self.workers[worker.id] = worker
        if devices and worker.shape.node is None:
            self._homeless.append(worker)
        elif self._slots.request(worker):
            self._reserve()  # of many that are requested at once the others are looked at with the next tick
        return worker

    def _cpus_of(self, job: Job) -> int:
        """The CPUs that a worker counts for."""
        return self._settings.resources.cpus_per_model or job.threads

    def _shape(self, job: Job, devices: Sequence[str]) -> Shape:
        resources = self._settings.resources
        memory = 0
        if resources.policy == "shared" and isinstance(resources.memory_per_worker_gb, (int, float)):
            memory = int(resources.memory_per_worker_gb * GIB)
        node = next((node.key for node in self._members.used() if devices and devices[0] in node.uuids), None)
        return Shape(self._cpus_of(job), memory, node)

    def capacity(self) -> int:
        """How many more workers the nodes take, beside those that wait already."""
        holds_for = self._members.changes, self._slots.changes, self._cpus
        if self._free is None or self._free[0] != holds_for:
            self._free = holds_for, self._members.free(self._cpus)
        return self._free[1] + self._slots.free

    def owners(self, pids: Collection[int]) -> Mapping[int, int]:
        """None: these are processes of this machine."""
        return {}

    def samples(self) -> Mapping[int, int]:
        """The resident memory of the workers, as their nodes last said."""
        return {worker.id: worker.resident for worker in self.workers.values() if worker.resident is not None}

    def _reserve(self) -> None:
        """Ask for slots for the workers that have none."""
        if self._slots.are_wanted:
            self._slots.reserve(self._members.used())

    def _why_not(self, shape: Shape) -> str | None:
        """Why no node can ever take such a worker, if that is so."""
        return problem_of(shape, self._members.used()) if self._is_ready else None

    def _withdraw(self) -> None:
        """Report the end of workers that were killed before they had a slot."""
        for worker in [worker for worker in self._slots.waiting if worker.killed]:
            if self._slots.withdraw(worker):
                self._gpu_room.gave_up(worker)
                self._finish(worker, _WITHDRAWN)
        lost, self._homeless = self._homeless, []
        for worker in lost:
            self._finish(worker, _WITHDRAWN if worker.killed else _NODE_GONE)

    def _start_in_slot(self, worker: RayWorker) -> None:
        if self._transfers is None:
            self._start_there(worker, None)
            return
        worker.is_shipped = True

        def listed(manifest: Manifest | OSError) -> None:
            if isinstance(manifest, OSError):
                words = f"could not start: {manifest.filename or 'a file'}: {manifest.strerror or manifest}"
                self._finish(worker, Ended(EndKind.EXIT, words))
            else:
                self._start_there(worker, manifest)

        self._transfers.list_files(worker, data_files_of(worker.jobs), listed)

    def _start_there(self, worker: RayWorker, manifest: Manifest | None) -> None:
        """Have the node of a worker's slot start it; `manifest`: the files that are sent there."""
        assert worker.slot is not None
        worker.is_sent = True
        jobs = [job.to_record() for job in worker.jobs]
        spawn = {"do": "spawn", "w": worker.id, "jobs": jobs, "ahead": worker.ahead, "exact": worker.slot.node.is_alike}
        self._transmit(worker, {**spawn, "devices": worker.devices, "manifest": manifest})
        for message in worker.unsent:
            worker.send(message)
        worker.unsent.clear()
        if worker.killed:
            worker.kill()

    def _finish(self, worker: RayWorker, end: Ended) -> None:
        """Free the slot of a worker that has ended, and report its end when its output is in its log."""
        worker.end = end
        self._slots.leave(worker)
        taken = worker.log.taken
        if worker.log.is_settled(taken):
            self._report_end(worker)
        else:
            self._ending.append((worker, taken, self._monotonic() + _OUTPUT_SECONDS))

    def _report_ends(self) -> None:
        """Report workers whose output is in their logs by now, or takes too long."""
        ending, self._ending = self._ending, []
        for worker, taken, deadline in ending:
            if self._monotonic() < deadline and not worker.log.is_settled(taken):
                self._ending.append((worker, taken, deadline))
            else:
                self._report_end(worker)

    def _report_end(self, worker: RayWorker) -> None:
        del self.workers[worker.id]
        self._outputs.let_go(worker.log)
        worker.on_exit(worker)

    # --- messages

    def _send(self, message: Message, data: bytes = b"") -> None:
        if self._link is not None and not self._is_hung_up:
            self._link.send(message, data)

    def _transmit(self, worker: RayWorker, message: Message, data: bytes = b"", *, is_bulk: bool = False) -> None:
        """Send a command about a worker to its node."""
        assert worker.slot is not None
        said = message.get("m", {}) if worker.is_shipped else {}
        if said.get("command") == "move" and self._transfers is not None:
            self._transfers.move(Path(said["directory"]))
            return  # its node has a directory of its own
        if said.get("command") == "code" and "path" in said:
            file = {"path": f"code/{said['path']}", "sha256": said["sha256"], "is_data": False}
            message = {"do": "code", "w": worker.id, "file": file, "m": said}
        self._send({"do": "tell", "node": worker.slot.node.key, "bulk": is_bulk}, encode(message, data))

    def _take(self, frame: Frame) -> None:
        """Handle a frame of the bridge."""
        message, data = frame
        match message["is"]:
            case "open":
                self._members.expect_first(message["agents"])
            case "refused":
                self._refused = message["message"]
            case "node":
                self._members.appear(message, self._monotonic())
            case "lost":
                self._lose(message["node"], message["why"])
            case "reserved":
                self._holds.is_reserved(message["slot"])
            case "ready" if "gpus" in message:
                self._holds.is_given(message["slot"], message["gpus"])
            case "ready":
                self._slots.is_ready(message["slot"])
            case "from":
                node = self._members.get(message["node"])
                if node is not None:  # otherwise it counts as lost, and nothing of it counts any more
                    node.heard = self._monotonic()
                    for said, content in decode(data):
                        self._hear(node, said, content)

    def _hear(self, node: Node, message: Message, data: bytes) -> None:
        """Handle a frame of a node's agent."""
        worker = self.workers.get(message["w"]) if "w" in message else None
        match message["a"]:
            case "hello":
                self._members.judge(node, message)
                self._state(node, message)
            case "state":
                self._state(node, message)
            case "problem":
                self._tell_problem(f"node {node.name}: {message['words']}")
            case "broken":
                self._break(node, message["why"])
            case "placed" if worker is not None:
                worker.pid = message["pid"]
            case "says" if worker is not None:
                worker.on_message(worker, message["m"])
            case "output" if worker is not None:
                self._outputs.add(worker.log, data)
            case "want" if worker is not None and self._transfers is not None:
                self._transfers.give(worker, message)
            case "file" if worker is not None and self._transfers is not None:
                self._transfers.keep(worker, message, data)
            case "ended" if worker is not None:
                end = Ended(EndKind(message["kind"]), message["words"])
                if self._transfers is None:
                    self._finish(worker, end)
                else:
                    self._transfers.settle(worker, message.get("kept", {}), lambda: self._finish(worker, end))

    def _state(self, node: Node, message: Message) -> None:
        limit = message["limit"]
        self._members.take_figures(node, message)
        self._members.set_limit(node, WorkerLimit(**{**limit, "warnings": tuple(limit["warnings"])}))
        for number, resident in message["resident"].items():
            worker = self.workers.get(int(number))
            if worker is not None:
                worker.resident = resident

    def _tell_problem(self, words: str) -> None:
        self.on_problem(words)

    # --- lost nodes

    def _lose(self, key: str, why: str) -> None:
        """Give up a node and all that runs there; its models start elsewhere at once."""
        node = self._members.lose(key, why)
        if node is None:
            return
        if not self._is_hung_up and node.refused is None:
            self._tell_problem(f"node {node.name} is lost: {why}")
        self._lose_workers(node, f"was lost with node {node.name} ({why})")

    def _break(self, node: Node, why: str) -> None:
        """Give up a node whose agent cannot do its work."""
        self._send({"do": "drop", "node": node.key})
        self._members.refuse(node, why)
        self._lose_workers(node, f"ended because node {node.name} cannot be used: {why}")

    def _lose_workers(self, node: Node, words: str) -> None:
        lost = [slot.worker for slot in node.slots if slot.worker is not None]
        waiting = [worker for worker in self._slots.waiting if worker.shape.node == node.key]
        lost += [worker for worker in waiting if self._slots.withdraw(worker)]
        self._slots.release_all(node)
        self._holds.release_all(node)
        for worker in lost:
            if self._transfers is not None:
                self._transfers.forget(worker)
            self._finish(worker, Ended(EndKind.NODE_LOST, words))

    def _lose_all(self, why: str) -> None:
        """Handle the end of the bridge: the cluster is out of reach."""
        if self._is_hung_up:
            return
        self._gone = f"the Ray cluster is out of reach: {why}"
        for node in self._members.all():
            self._lose(node.key, "the cluster is out of reach")
