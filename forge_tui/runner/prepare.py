"""Decisions before the first step: number of workers, their work, and the device."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from forge_tui.errors import UsageError
from forge_tui.protocol.job import Job
from forge_tui.resources import devices
from forge_tui.resources.bfloat16 import slow_bfloat16
from forge_tui.resources.devices import DeviceChoice, TorchDevices
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import OnDevices, OtherRuns, WorkerLimit, worker_limit
from forge_tui.runner import groups
from forge_tui.runner.device_costs import DeviceCosts
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
        found = estimates.get(shape)
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


def slowness(settings: Settings, device: str) -> str | None:
    """What makes such a run slow on the device, or None."""
    precisions = settings.sweep.get("training.precision", (settings.training.precision,))
    return slow_bfloat16(set(precisions), device)


def choose_devices(
    settings: Settings, resources: SystemResources, torch_devices: TorchDevices | None, kept: str | None = None
) -> DeviceChoice:
    """The devices of a run. `kept`: the kind of device of the run that is resumed, which its bytes depend on.

    Raises `UsageError` if what is asked for, or kept, is not there.
    """
    resource, gpus = settings.resources, resources.gpus
    choice: DeviceChoice | None = None
    gone: str | None = None
    if kept == "cpu":
        return DeviceChoice("cpu")
    if kept is None or resource.device not in ("auto", "cpu"):
        try:
            choice = devices.choose_devices(resource.device, gpus, torch_devices, os.environ)
        except UsageError as error:
            if kept is None:
                raise
            gone = str(error)
    if kept is not None and (choice is None or choice.kind != kept):
        choice = devices.choose_devices(kept, gpus, torch_devices, os.environ)
        if gone is not None:  # which of several devices of a kind it is does not matter
            choice = replace(choice, reason=f"{choice.reason}, instead of those at the start ({gone})")
    assert choice is not None
    if choice.uuids and len(choice.uuids) < resource.devices_per_model:
        has = "1 GPU" if len(choice.uuids) == 1 else f"{len(choice.uuids)} GPUs"
        raise UsageError(
            f"resources.devices_per_model = {resource.devices_per_model}: the run has {has} ({choice.reason}); give a "
            "smaller number, or more devices in resources.device"
        )
    return choice


def most_room_first(uuids: Sequence[str], gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """The run's devices, those with the most free memory first: measurements before the first step are made there."""
    free = {gpu.uuid: gpu.memory_free for gpu in gpus}
    return tuple(sorted(uuids, key=lambda uuid: -free.get(uuid, 0)))
