"""Advice before a run: the devices that it would have here, and the number of workers to suggest.

The terminal UI, `doctor` and the Python interface ask here. The runner decides by the same rules, and asks torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forge_tui.errors import UsageError
from forge_tui.resources.policy import MAX_SUGGESTED_WORKERS, OnDevices, Thresholds, capacity

if TYPE_CHECKING:
    from forge_tui.resources.hardware import SystemResources


@dataclass(frozen=True, slots=True)
class DevicesHere:
    """The devices that a run would have. `on`: its GPUs, None without any; `reason`: in words, empty where only the CPU
    could be meant. `is_refused`: such a run would be refused, for that reason.
    """

    on: OnDevices | None = None
    reason: str = ""
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The suggested mode and number of workers; the other fields are as in `WorkerLimit`."""

    mode: str
    workers: int
    reason: str
    limited_by: str
    hint: str | None


def devices_here(
    resources: SystemResources,
    settings: Thresholds,
    environment: Mapping[str, str],
    *,
    trains_with_torch: bool = True,
) -> DevicesHere:
    """The devices that `[resources]` chooses on this machine; `trains_with_torch`: not a command.

    Starts nothing: of torch it knows only whether it is built with CUDA. A run asks it.
    """
    if not resources.gpus and settings.device in ("auto", "cpu") and settings.devices_per_model == 1:
        return DevicesHere()  # nothing to choose: the UI, which asks at its start, imports no more for that
    from forge_tui.resources.devices import CPU, choose_devices, is_torch_asked, require_enough
    from forge_tui.resources.installed_torch import torch_without_cuda

    is_asked = is_torch_asked(settings.device, resources.gpus, trains_with_torch=trains_with_torch)
    try:
        choice = choose_devices(
            settings.device, resources.gpus, torch_without_cuda() if is_asked else None, environment
        )
        require_enough(choice, resources.gpus, settings.devices_per_model)
    except UsageError as error:
        return DevicesHere(reason=str(error), is_refused=True)
    on = OnDevices(len(choice.uuids), settings.devices_per_model) if choice.uuids else None
    is_told = choice.kind != CPU or (bool(resources.gpus) and settings.device != CPU)
    return DevicesHere(on, choice.reason if is_told else "")


def suggestion(resources: SystemResources, settings: Thresholds, devices: DevicesHere) -> Suggestion:
    """What the machine allows, at most `most_suggested`."""
    allowed = capacity(resources, settings, devices.on)
    workers = min(allowed.workers, most_suggested(settings, devices.on))
    reason, hint = allowed.reason, allowed.hint
    if allowed.workers > workers:
        reason = f"at most {workers} are suggested; {allowed.workers} are possible ({allowed.reason})"
        hint = f"--workers {allowed.workers}"
    return Suggestion("parallel" if workers > 1 else "series", workers, reason, allowed.limited_by, hint)


def most_suggested(settings: Thresholds, on: OnDevices | None) -> int:
    """`max_suggested_workers`; at its default enough for a worker on every GPU."""
    most = settings.max_suggested_workers
    if on is None or most != MAX_SUGGESTED_WORKERS:
        return most
    return max(most, on.devices // on.per_model)
