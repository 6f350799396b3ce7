"""Energy counters: of the CPU packages by Linux's powercap (RAPL), of GPUs by NVML; and what was used between readings.

A package's counter is in microjoules and wraps at `max_energy_range_uj`: 262 kJ on Intel, 65 kJ on AMD, which is
minutes at full load. It counts the whole package with all that runs there. Since 5.10 Linux lets root alone read it,
because it can tell what other processes compute (CVE-2020-8694).
Source: Linux, Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from forge_tui.resources.gpus import Gpu
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.resources.usage import tree_seconds

POWERCAP = "/sys/class/powercap"
LONGEST_GAP_SECONDS = 60.0
"""A counter of 65 kJ may wrap twice within a longer time between readings (above 1 kW): its energy is not known."""
_DOMAIN = re.compile(r"intel-rapl(-mmio)?:\d+")
_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Package:
    """A CPU package: its name (`package-0`), the path of its counter, and the joules after which that begins again."""

    name: str
    path: str
    wraps_at: float


@dataclass(frozen=True, slots=True)
class CpuCounters:
    """One reading: joules by package, and the CPU seconds of all processes of the machine and of this process' tree.

    `time` is monotonic (seconds).
    """

    time: float
    joules: Mapping[str, float]
    busy_seconds: float
    own_seconds: float


@dataclass(frozen=True, slots=True)
class CpuEnergy:
    """What the packages used between two readings: joules in all, and the share of our CPU time in all CPU time."""

    packages: float
    share: float
    seconds: float


class CpuEnergyReader:
    """Reads the packages' counters, if this process may. `problem` says why there is nothing to read, in words."""

    def __init__(
        self,
        probe: SystemProbe,
        own_seconds: Callable[[], float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`own_seconds`: the CPU seconds that count as ours; by default those of this process and its descendants."""
        self._probe, self._monotonic = probe, monotonic
        self._own_seconds = own_seconds or (lambda: tree_seconds(os.getpid()))
        self._packages: tuple[Package, ...] = ()
        self.problem: str | None = None
        try:
            self._packages = find_packages(probe)
            if not self._packages:
                self.problem = (
                    f"{POWERCAP} has no CPU package: usual on a virtual machine, in a container and outside Linux; "
                    "elsewhere `modprobe intel_rapl_msr` adds it"
                )
            else:
                self.read()
        except (OSError, ValueError) as error:
            self._note(error)

    @property
    def packages(self) -> tuple[str, ...]:
        """The names of the packages that can be read."""
        return tuple(package.name for package in self._packages)

    def read(self) -> CpuCounters | None:
        """The counters now (0.1 ms, and 15 µs per process of this user); None with a `problem`."""
        if not self._packages:
            return None
        try:
            joules = {package.name: self._joules(package) for package in self._packages}
            busy = sum(busy for busy, _ in self._probe.cpu_times())
            return CpuCounters(self._monotonic(), joules, busy, self._own_seconds())
        except (OSError, ValueError) as error:
            self._note(error)
            return None

    def between(self, before: CpuCounters, now: CpuCounters) -> CpuEnergy | None:
        """The energy between two readings; None if a counter may have wrapped more than once, or one is missing."""
        seconds = now.time - before.time
        if seconds > LONGEST_GAP_SECONDS or before.joules.keys() != now.joules.keys():
            return None
        used = 0.0
        for package in self._packages:
            more = now.joules[package.name] - before.joules[package.name]
            used += more if more >= 0 else more + package.wraps_at
        busy, own = now.busy_seconds - before.busy_seconds, now.own_seconds - before.own_seconds
        part = min(1.0, max(0.0, own / busy)) if busy > 0 else 0.0
        return CpuEnergy(used, used * part, seconds)

    def _joules(self, package: Package) -> float:
        text = self._probe.read(package.path)
        if text is None:
            raise OSError(f"{package.path} is gone")
        return int(text) * _MICRO

    def _note(self, error: OSError | ValueError) -> None:
        """Nothing is read from now on, and why."""
        self._packages = ()
        if isinstance(error, PermissionError):
            self.problem = f"only root may read {POWERCAP}/*/energy_uj here; an administrator can allow it (chmod a+r)"
        else:
            self.problem = f"{POWERCAP} cannot be read: {error}"


def find_packages(probe: SystemProbe) -> tuple[Package, ...]:
    """The CPU packages, each once: some CPUs show one by two interfaces. Raises `OSError`, `ValueError`.

    Their parts (cores, memory) are in their counters, and `psys` is the whole computer: neither is a package.
    """
    found: dict[str, Package] = {}
    domains = [name for name in probe.names(POWERCAP) if _DOMAIN.fullmatch(name)]
    for domain in sorted(domains, key=lambda name: ("-mmio" in name, name)):
        place = f"{POWERCAP}/{domain}"
        name = (probe.read(f"{place}/name") or "").strip()
        if not name.startswith("package"):
            continue
        most = probe.read(f"{place}/max_energy_range_uj")
        if most is None:
            raise OSError(f"{place}/max_energy_range_uj is missing")
        found.setdefault(name, Package(name, f"{place}/energy_uj", int(most) * _MICRO))
    return tuple(found.values())


def gpu_joules(gpus: Iterable[Gpu]) -> dict[str, float | None]:
    """The counter of each GPU by UUID (None: it has none); a GPU's instances count under the GPU, which has it."""
    return {gpu.parent or gpu.uuid: gpu.energy_joules for gpu in gpus}
