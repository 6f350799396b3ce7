"""This node's GPUs, as its agent reports them: which can be used, their figures, and what the workers here hold."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forge_tui.engines.base import WorkerHandle
from forge_tui.engines.local import LocalEngine, LocalWorker
from forge_tui.engines.ray.frames import Message
from forge_tui.engines.ray.sampler import Sampler
from forge_tui.errors import UsageError
from forge_tui.protocol.job import Job
from forge_tui.resources.devices import CPU, DeviceChoice, TorchDevices, choose_devices, is_torch_asked
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.host_gpus import held_on
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.schema import Settings

ANSWER_SECONDS = 60.0
"""CUDA starts in a second or two; with many GPUs and without the persistence daemon in up to half a minute."""


class NodeGpus:
    """Asks a worker of its own what torch can use here, unless there is no reason to, and then says what is there."""

    def __init__(
        self, settings: Settings, directory: str, engine: LocalEngine, sampler: Sampler, environment: Mapping[str, str]
    ) -> None:
        """`environment`: that the node was started with, whose `CUDA_VISIBLE_DEVICES` counts."""
        self._engine, self._sampler, self._environment = engine, sampler, environment
        self._wanted = settings.resources.device
        self._gpus = sampler.now().gpus
        self._answers: list[dict[str, Any]] = []
        self._torch: TorchDevices | None = None
        self._worker: LocalWorker | None = None
        self._begun: float | None = None
        self._told: int | None = None
        is_wanted = self._wanted != CPU
        if is_wanted and is_torch_asked("auto", self._gpus, trains_with_torch=not settings.run.command):
            job = _any_job(directory)
            self._worker = engine.spawn("devices", [job], None, self._on_answer, lambda _: None)

    def _on_answer(self, _: WorkerHandle, message: dict[str, Any]) -> None:
        self._answers.append(message["result"])

    @property
    def is_known(self) -> bool:
        """Whether it is known what torch can use; look again with the next tick otherwise."""
        worker = self._worker
        if worker is None:
            return True
        if self._begun is None and worker.place is not None:
            self._begun = time.monotonic()  # before that the fork server imports torch
        if worker.ended is not None:
            self._torch = self._answer(worker)
        elif self._begun is not None and time.monotonic() - self._begun > ANSWER_SECONDS:
            worker.kill()
            self._torch = TorchDevices(
                problem=f"CUDA has not started within {ANSWER_SECONDS:g} s: the driver of this node hangs"
            )
        else:
            return False
        self._worker = None
        return True

    def _answer(self, worker: LocalWorker) -> TorchDevices:
        if not self._answers:
            how = "" if worker.ended is None else f" {worker.ended.words}"
            return TorchDevices(problem=f"the process that was to start CUDA{how} without an answer")
        answer = self._answers[0]
        return TorchDevices(tuple(answer["uuids"]), answer["problem"], answer["mps"])

    def to_record(self) -> Message:
        """What can be used, and why: for `resources.node_devices.NodeDevices`."""
        choice = self._choice()
        return {
            "kind": choice.kind,
            "uuids": list(choice.uuids),
            "reason": choice.reason,
            "gpus": [gpu.to_record() for gpu in self._gpus],
        }

    def _choice(self) -> DeviceChoice:
        """What `auto` chooses here: a list of GPUs is looked up by the runner, which knows those of all nodes."""
        if self._wanted == CPU:
            return DeviceChoice(CPU, reason="the CPU: --device cpu")
        try:
            return choose_devices("auto", self._gpus, self._torch, self._environment)
        except UsageError as error:
            return DeviceChoice(CPU, reason=f"the CPU: {error}")

    def state(self, workers: Mapping[int, int]) -> Message:
        """The newest figures, without the GPUs where they were sent before.

        `workers`: the runner's number of each worker, by the engine's.
        """
        look = self._sampler.look()
        found: Message = {"sample": look.number, "read": look.read}
        if look.read != self._told:
            self._told = look.read
            pids = {process.pid for gpu in look.gpus for process in gpu.processes or ()}
            owners = {pid: workers[one] for pid, one in self._engine.owners(pids).items() if one in workers}
            found["gpus"] = [gpu.to_record() for gpu in look.gpus]
            found["held"] = {str(number): here for number, here in held_on(look.gpus, owners).items()}
        return found


def gpus_in(message: Message) -> tuple[Gpu, ...] | None:
    """The GPUs of a state; None: as sent before."""
    return None if "gpus" not in message else tuple(Gpu.from_record(one) for one in message["gpus"])


def node_environment(process: Path = Path("/proc"), parent: int | None = None) -> dict[str, str] | None:
    """The environment that this node of Ray was started with; None if it cannot be read.

    Ray changes variables in the processes that it starts, such as `CUDA_VISIBLE_DEVICES` of those without a GPU.
    """
    place = process / str(os.getppid() if parent is None else parent)
    try:
        if (place / "comm").read_text().strip() != "raylet":
            return None
        entries = (place / "environ").read_bytes().decode(errors="surrogateescape").split("\0")
    except OSError:
        return None
    return dict(entry.partition("=")[::2] for entry in entries if "=" in entry)


def _any_job(directory: str) -> Job:
    """What a worker that trains nothing is started with."""
    return Job(
        run=RunDirectory(Path(directory)).id,
        directory=directory,
        working_directory=directory,
        model="devices",
        index=1,
        attempt=1,
        seed=0,
        settings={},
        threads=1,
        device=CPU,
    )
