"""Which GPUs the environment leaves visible: `CUDA_VISIBLE_DEVICES`, and a Slurm job's share of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forge_tui.resources.gpus import Gpu
from forge_tui.safe_io.printing import escaped

VARIABLE = "CUDA_VISIBLE_DEVICES"
_SLURM = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")


@dataclass(frozen=True, slots=True)
class Visible:
    """The visible GPUs, in the environment's order. `limit`: what hides others, such as `CUDA_VISIBLE_DEVICES=1`."""

    gpus: tuple[Gpu, ...]
    limit: str | None = None


def visible_gpus(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> Visible:
    """The GPUs and MIG instances of `gpus` that `environment` leaves visible.

    `CUDA_VISIBLE_DEVICES` is read as CUDA reads it: indices, or UUIDs of which unique beginnings are enough; the first
    entry that fits nothing ends the list, and one that is repeated empties it. The index or the UUID of a GPU in MIG
    mode stands for its first instance. Indices are NVML's, which are CUDA's with `CUDA_DEVICE_ORDER=PCI_BUS_ID` and on
    machines whose GPUs are all alike; elsewhere only CUDA can tell (`devices.choose_devices` asks torch).

    Without the variable, the GPUs of a Slurm job, where its control group does not hide the others already.
    """
    value = environment.get(VARIABLE)
    if value is not None:
        return Visible(_named(gpus, value), f"{VARIABLE}={escaped(value)}")
    for name in _SLURM:
        indices = _indices(environment.get(name, ""))
        # In a job's control group NVML lists the job's GPUs only, with indices of their own.
        if indices and len(_whole(gpus)) > len(indices):
            mine = tuple(gpu for gpu in gpus if gpu.index in indices)
            return Visible(mine, f"Slurm ({name}={escaped(environment[name])})")
    return Visible(tuple(gpus))


def _named(gpus: Sequence[Gpu], value: str) -> tuple[Gpu, ...]:
    entries = value.split(",")
    for kind in ("GPU-", "MIG-"):
        if value.startswith(kind):
            return _unique([_by_uuid(gpus, entry) if entry.startswith(kind) else None for entry in entries])
    whole = _whole(gpus)
    return _unique([whole.get(_leading_number(entry.strip())) for entry in entries])


def _unique(found: Sequence[Gpu | None]) -> tuple[Gpu, ...]:
    """The GPUs up to the first None; none at all if one of them is repeated."""
    kept: list[Gpu] = []
    for gpu in found:
        if gpu is None:
            break
        if gpu in kept:
            return ()
        kept.append(gpu)
    return tuple(kept)


def _whole(gpus: Sequence[Gpu]) -> dict[int, Gpu]:
    """By index: the GPU, or its first MIG instance."""
    found: dict[int, Gpu] = {}
    for gpu in gpus:
        found.setdefault(gpu.index, gpu)
    return found


def _by_uuid(gpus: Sequence[Gpu], beginning: str) -> Gpu | None:
    """The only GPU, or first instance of the only GPU, whose UUID begins so; else None."""
    found = {gpu.uuid: gpu for gpu in gpus if gpu.uuid.startswith(beginning)}
    for gpu in gpus:
        if gpu.parent is not None and gpu.parent.startswith(beginning):
            found.setdefault(gpu.parent, gpu)
    return next(iter(found.values())) if len(found) == 1 else None


def _leading_number(entry: str) -> int:
    """The number that an entry begins with, as C's `strtoul` reads it (`1gpu` is 1); -1 without one."""
    digits = entry[1:] if entry[:1] == "+" else entry
    length = next((place for place, sign in enumerate(digits) if not ("0" <= sign <= "9")), len(digits))
    return int(digits[:length]) if 0 < length < 10 else -1


def _indices(text: str) -> frozenset[int]:
    """The indices in Slurm's list, such as `0,2-3`; empty for anything else."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and len(first) < 6 and len(last) < 6):
            return frozenset()
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
