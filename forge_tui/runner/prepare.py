"""Decisions before the first step: number of workers, their work, and the device."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from forge_tui.errors import UsageError
from forge_tui.protocol.job import Job
from forge_tui.resources import devices
from forge_tui.resources.bfloat16 import slow_bfloat16
from forge_tui.resources.devices import DeviceChoice, TorchDevices
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.node_limit import NodeLimit, cluster_limit
from forge_tui.resources.policy import OnDevices, OtherRuns, WorkerLimit, cpu_share, threads_allowed, worker_limit
from forge_tui.runner import groups
from forge_tui.runner.device_costs import DeviceCosts
from forge_tui.runs import run_models
from forge_tui.settings.schema import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the run is carried out, decided once and kept by retry and resume.

    `reasons`: kinds of decision with their reasons. `memory_estimate` is None for a training function. `devices`: the
    GPUs of the run by UUID; `device_estimates`: by the shape of models (`run_models.shape_of`).
    """

    limit: WorkerLimit
    resources: SystemResources
    threads: int
    fuse: int
    reasons: tuple[tuple[str, str], ...]
    job: Job
    memory_estimate: int | None
    devices: tuple[str, ...] = ()
    device_estimates: Mapping[str, DeviceEstimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeviceEstimate:
    """Estimated bytes of tensors on a device: of one model, and of each further one of its group."""

    first: int
    further: int

    def of(self, members: int) -> int:
        """Bytes of a group."""
        return self.first + (members - 1) * self.further


def device_costs(estimates: Mapping[str, DeviceEstimate]) -> DeviceCosts:
    """What workers take of a device: at first as estimated by the shape of their models (`run_models.shape_of`)."""

    def estimate(kind: Hashable) -> int | None:
        assert isinstance(kind, tuple)
        shape, members = kind
        # Of a search only some shapes are known: the largest stands for the others.
        found = estimates.get(shape, estimates.get(run_models.ANY_SHAPE))
        return None if found is None else found.of(members)

    return DeviceCosts(estimate)


def cpus_of(settings: Settings, threads: int) -> int:
    """CPUs that a worker counts for: `cpus_per_model`, or its threads."""
    return settings.resources.cpus_per_model or threads


def on_devices(settings: Settings, uuids: Sequence[str]) -> OnDevices | None:
    """The run's GPUs for the resource rules; None if it has none."""
    return OnDevices(len(uuids), settings.resources.devices_per_model) if uuids else None


def allowed_workers(
    settings: Settings,
    resources: SystemResources,
    others: OtherRuns | None = None,
    threads: int = 1,
    uuids: Sequence[str] = (),
) -> WorkerLimit:
    """The resource rules' limit for this run's mode, worker count and number of models or groups, on its GPUs."""
    training = settings.training
    requested = training.max_parallel_workers if training.training_mode == "parallel" else 1
    return worker_limit(
        min(requested, groups.group_count(settings)),
        resources,
        settings.resources,
        mode=training.training_mode,
        others=others,
        threads=cpus_of(settings, threads),
        on=on_devices(settings, uuids),
    )


def limit_on_nodes(settings: Settings, nodes: Sequence[NodeLimit]) -> WorkerLimit:
    """As `allowed_workers`, on the nodes of a cluster."""
    training = settings.training
    requested = training.max_parallel_workers if training.training_mode == "parallel" else 1
    most = min(requested, groups.group_count(settings))
    return cluster_limit(most, nodes, mode=training.training_mode, policy=settings.resources.policy)


def devices_here(settings: Settings, resources: SystemResources, torch_devices: TorchDevices | None) -> DeviceChoice:
    """The devices of this machine on which data and model are looked at for a run on nodes of a cluster.

    Its GPUs, if it has enough of them, else the CPU: which GPUs the run has is a matter of the nodes.
    """
    try:
        return choose_devices(anywhere(settings), resources, torch_devices)
    except UsageError as error:  # too few for one model
        return DeviceChoice("cpu", reason=f"the CPU: {error}")


def anywhere(settings: Settings) -> Settings:
    """The settings with the GPUs of this machine in place of those that are named of a cluster's nodes."""
    if settings.resources.device == "cpu":
        return settings
    return replace(settings, resources=replace(settings.resources, device="auto"))


def lasting(limit: WorkerLimit, settings: Settings, resources: SystemResources) -> WorkerLimit:
    """The limit with as many threads per worker as it allows once others leave the machine: threads are chosen once.

    A start beside others' work would else give the only worker all CPUs, and no second one would ever have room.
    """
    if limit.limited_by not in ("busy", "other_runs"):
        return limit
    rules = settings.resources
    workers = min(limit.requested, cpu_share(resources, rules))
    return replace(limit, threads_allowed=threads_allowed(workers, resources, rules))


def slowness(settings: Settings, device: str) -> str | None:
    """What makes such a run slow on the device, or None."""
    name = "training.precision"
    precisions = settings.sweep.get(name) or settings.search.space.get(name) or (settings.training.precision,)
    return slow_bfloat16(set(precisions), device)


def choose_devices(
    settings: Settings, resources: SystemResources, torch_devices: TorchDevices | None, kept: str | None = None
) -> DeviceChoice:
    """The devices of a run. `kept`: the kind of device of the run that is resumed, which its bytes depend on.

    Raises `UsageError` if what is asked for, or kept, is not there, or too few for one model.
    """

    def choose(wanted: str | Sequence[str | int]) -> DeviceChoice:
        return devices.choose_devices(wanted, resources.gpus, torch_devices, os.environ)

    wanted = settings.resources.device
    choice = choose(wanted) if kept is None else _kept(kept, wanted, choose)
    devices.require_enough(choice, resources.gpus, settings.resources.devices_per_model)
    return choice


def _kept(
    kind: str, wanted: str | Sequence[str | int], choose: Callable[[str | Sequence[str | int]], DeviceChoice]
) -> DeviceChoice:
    """The devices of a resumed run: of the same kind, and those that were named if they are there."""
    if kind == "cpu":
        return DeviceChoice("cpu", reason="the CPU, as at the start of the run")
    gone = ""
    if not isinstance(wanted, str):
        try:
            return choose(wanted)
        except UsageError as error:
            gone = f", instead of those at the start ({error})"
    found = choose("auto" if kind == "cuda" else kind)
    if found.kind != kind:
        raise UsageError(
            f"the run was started on {kind}, and its results depend on that: here it would train on {found.reason}. "
            "Resume it where there is one, or start a new run"
        )
    return replace(found, reason=f"{found.reason}{gone}")


def most_room_first(uuids: Sequence[str], gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """The run's devices, those with the most free memory first: measurements before the first step are made there."""
    free = {gpu.uuid: gpu.memory_free for gpu in gpus}
    return tuple(sorted(uuids, key=lambda uuid: -free.get(uuid, 0)))
