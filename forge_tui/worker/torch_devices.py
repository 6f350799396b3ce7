"""Asks torch which devices it can use. Runs in a process of its own: it starts CUDA, which no fork survives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)[a-z]?")


def find_devices() -> dict[str, Any]:
    """A record of `resources.devices.TorchDevices`: UUIDs without the driver's prefix, a problem in words, and MPS.

    Never raises: an error of CUDA is the problem.
    """
    mps = torch.backends.mps.is_available()
    if torch.version.cuda is None:
        return {"uuids": [], "problem": f"torch {torch.__version__} is built without CUDA", "mps": mps}
    try:
        torch.cuda.init()
        properties = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    except Exception as error:  # a boundary: the driver's or the runtime's problem becomes data
        said = " ".join(str(error).split())
        return {"uuids": [], "problem": f"CUDA does not start ({said})", "mps": mps}
    built_for = torch.cuda.get_arch_list()
    usable = [one for one in properties if is_built_for((one.major, one.minor), built_for)]
    problem: str | None = None
    if not usable:
        too_old = ", ".join(f"{one.name} ({one.major}.{one.minor})" for one in properties)
        problem = f"torch {torch.__version__} has no kernels for {too_old}" if properties else "CUDA shows no device"
    return {"uuids": [str(one.uuid) for one in usable], "problem": problem, "mps": mps}


def is_built_for(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Whether kernels of these architectures (`sm_90`, `compute_90`) run on a device of this compute capability.

    Machine code runs on devices of the same major version and the same or a later minor one, PTX on all later ones
    (CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility"). An unknown list counts as suitable.
    """
    major, minor = capability
    found = [_ARCHITECTURE.fullmatch(one) for one in built_for]
    if not any(found):
        return True
    for match in filter(None, found):
        kind, made = match[1], (int(match[2]), int(match[3]))
        if made <= (major, minor) and (kind == "compute" or made[0] == major):
            return True
    return False
