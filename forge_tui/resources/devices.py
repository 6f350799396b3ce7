"""Which devices a run may use: what is asked for, what is visible, what torch can use, and what others leave idle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forge_tui.resources.gpus import Gpu


@dataclass(frozen=True, slots=True)
class TorchDevices:
    """What torch can use in this environment, as a process of its own found out.

    `uuids`: of the CUDA devices, in CUDA's order. `problem`: why there are none, in words. `mps`: Apple's GPU.
    """

    uuids: tuple[str, ...] = ()
    problem: str | None = None
    mps: bool = False


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """The devices of a run. `kind`: `cpu`, `cuda` or `mps`; `uuids`: its GPUs, in order; `reason`: why, in words."""

    kind: str
    uuids: tuple[str, ...] = ()
    reason: str = ""


def choose_devices(
    wanted: str | Sequence[str | int],
    gpus: Sequence[Gpu],
    torch_devices: TorchDevices | None,
    environment: Mapping[str, str],
) -> DeviceChoice:
    """The devices for `[resources] device`. `torch_devices`: None if there was no reason to ask torch.

    Raises `UsageError`, with what was asked for, what is there and what to do.
    """
    raise NotImplementedError
