"""The GPUs of one machine at one moment, as the placement of workers sees them: here, and on a cluster's nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from forge_tui.resources.gpus import Gpu


@dataclass(frozen=True, slots=True)
class HostGpus:
    """A machine's GPUs, at its newest sample.

    `host`: its name, None of the runner's machine. `sample`: the number of the newest sample; `read`: that of the one
    in which the driver last gave these figures, as it may not answer for a while. `held`: bytes that each worker holds
    on each GPU, by the worker's number and the UUID; missing: not seen.
    """

    host: str | None
    sample: int
    read: int
    gpus: tuple[Gpu, ...]
    held: Mapping[int, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterGpus:
    """The GPUs of a cluster's nodes. `uuids`: those that the run may use, by node.

    `closed`: why nothing can be placed on some of them now, by UUID; `is_asking`: whether that may change at once, as
    the cluster has been asked for more. `changes` grows whenever `uuids`, `closed` or `is_asking` may have changed.
    """

    hosts: tuple[HostGpus, ...]
    uuids: tuple[str, ...]
    closed: Mapping[str, str]
    is_asking: bool
    changes: int


def held_on(gpus: Iterable[Gpu], owners: Mapping[int, int]) -> dict[int, dict[str, int]]:
    """Bytes that each owner holds on each device, by the owners of processes; as far as the driver counts them."""
    found: dict[int, dict[str, int]] = {}
    for gpu in gpus:
        for process in gpu.processes or ():
            if process.pid in owners and process.memory is not None:
                here = found.setdefault(owners[process.pid], {})
                here[gpu.uuid] = here.get(gpu.uuid, 0) + process.memory
    return found
