"""A Slurm job's resources on this node. Source: sbatch(1) and srun(1), output environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forge_tui.safe_io.printing import named

_MIB_PER_GIB = 1024


@dataclass(frozen=True, slots=True)
class SlurmLimit:
    """`resource` is `cpu` (value: CPUs) or `memory` (value: GiB)."""

    resource: str
    value: float
    source: str


def read_slurm(environment: Mapping[str, str]) -> tuple[SlurmLimit, ...]:
    """The job's CPUs and memory on this node. Raises `ValueError` for a variable that is not a number."""
    found = []
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        cpus = _number(environment, name)
        if cpus:
            found.append(SlurmLimit("cpu", cpus, f"Slurm ({name}={environment[name]})"))
    per_node = _number(environment, "SLURM_MEM_PER_NODE")  # MiB; 0 is all of the node's
    if per_node:
        source = f"Slurm (SLURM_MEM_PER_NODE={environment['SLURM_MEM_PER_NODE']})"
        found.append(SlurmLimit("memory", per_node / _MIB_PER_GIB, source))
    per_cpu = _number(environment, "SLURM_MEM_PER_CPU")
    if per_cpu:
        cpus = _number(environment, "SLURM_CPUS_ON_NODE") or _number(environment, "SLURM_CPUS_PER_TASK") or 1.0
        source = f"Slurm (SLURM_MEM_PER_CPU={environment['SLURM_MEM_PER_CPU']} × {cpus:g} CPUs)"
        found.append(SlurmLimit("memory", per_cpu * cpus / _MIB_PER_GIB, source))
    return tuple(found)


def _number(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    if not text.isdigit():
        raise ValueError(f"{named(name)}={text!r} is not a whole number")
    return float(text)
