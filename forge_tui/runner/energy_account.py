"""Adds up the energy of a run: of the CPU packages, its share of them by CPU time, and of the GPUs it is on.

A GPU counts as a whole from the sample of the machine before a worker came on it to the one after it left: in steps of
two seconds. Others on the same GPU are included, because its counter does not distinguish them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from forge_tui.protocol.energy import Energy
from forge_tui.protocol.run_info import RunInfo
from forge_tui.resources.energy import CpuCounters, CpuEnergyReader, gpu_joules
from forge_tui.resources.gpus import Gpu
from forge_tui.runner.journal import Journal

ELSEWHERE = "the run's workers are on other machines, and only the counters of this one are read"
_NO_COUNTER = "{} has no energy counter (GPUs have one since Volta)"
_UNSEEN = "NVML shows no GPU that the run is on"
_LATE = "a part was not measured: a GPU could not be read at first"
_RELOADED = "a part was not measured: a GPU's counter began again"
_OLDER = "a part was not measured: an older version trained it"
_GAP = "a part was not measured: the counters were not read for more than a minute"


def _unknown_before(info: RunInfo) -> Energy:
    """The energy of a run whose record has none: nothing of a new one, unknown of one that an older version began."""
    if info.resumed is None:
        return Energy()
    return Energy(cpu_unknown=_OLDER, gpu_unknown=None if info.device == "cpu" else _OLDER)


class EnergyAccount:
    """Used in the scheduler's thread; the counters are read in the machine's. Continues what the run's record has."""

    def __init__(
        self,
        journal: Journal,
        reader: CpuEnergyReader,
        intensity: float | None,
        *,
        elsewhere: bool = False,
    ) -> None:
        """`intensity`: grams of CO2 per kWh. `elsewhere`: the workers are on other machines."""
        self._journal, self._reader = journal, reader
        known = Energy.from_record(journal.info.energy) or _unknown_before(journal.info)
        self._energy = replace(known, intensity=intensity)
        self._elsewhere = elsewhere
        self._cpu: CpuCounters | None = None
        self._gpus: dict[str, float | None] = {}
        self._used: set[str] = set()

    def begin(self, gpus: Iterable[Gpu] = ()) -> None:
        """Take the first reading: the energy counts from here."""
        self._gpus = gpu_joules(gpus)
        cpu_unknown, gpu_unknown = self._energy.cpu_unknown, self._energy.gpu_unknown
        if self._elsewhere:
            self._put(replace(self._energy, cpu_unknown=ELSEWHERE, gpu_unknown=ELSEWHERE))
            return
        self._cpu = self._reader.read()
        if self._journal.info.device != "cpu" and not self._gpus:
            gpu_unknown = gpu_unknown or _UNSEEN
        self._put(replace(self._energy, cpu_unknown=cpu_unknown or self._reader.problem, gpu_unknown=gpu_unknown))

    def use(self, devices: Iterable[str]) -> None:
        """A worker is on these GPUs (UUIDs)."""
        self._used.update(devices)

    @property
    def uses_gpus(self) -> bool:
        """Whether a worker was on a GPU since the last sample."""
        return bool(self._used)

    def take(self, cpu: CpuCounters | None, gpus: Collection[Gpu], still_used: Iterable[str]) -> None:
        """Take a sample of the machine. `still_used`: the GPUs that workers are on now."""
        if self._elsewhere:
            return
        energy = self._with_gpus(self._with_cpu(self._energy, cpu), gpus)
        self._used = set(still_used)
        self._put(energy)

    def _with_cpu(self, energy: Energy, now: CpuCounters | None) -> Energy:
        before, self._cpu = self._cpu, now or self._cpu
        if now is None or before is None:
            return replace(energy, cpu_unknown=energy.cpu_unknown or self._reader.problem)
        more = self._reader.between(before, now)
        if more is None:
            return replace(energy, cpu_unknown=energy.cpu_unknown or _GAP)
        return replace(energy, packages=(energy.packages or 0.0) + more.packages, cpu=(energy.cpu or 0.0) + more.share)

    def _with_gpus(self, energy: Energy, gpus: Collection[Gpu]) -> Energy:
        now = gpu_joules(gpus)
        names = {gpu.parent or gpu.uuid: gpu.name for gpu in gpus}
        of_instance = {gpu.uuid: gpu.parent or gpu.uuid for gpu in gpus}
        used, unknown = dict(energy.gpus), energy.gpu_unknown
        for uuid in sorted({of_instance.get(one, one) for one in self._used}):
            before, after = self._gpus.get(uuid), now.get(uuid)
            if after is None:
                if before is None:
                    unknown = unknown or (_NO_COUNTER.format(names[uuid]) if uuid in names else _UNSEEN)
            elif before is None:
                unknown = unknown or _LATE
            elif after >= before:
                used[uuid] = used.get(uuid, 0.0) + after - before
            else:
                unknown = unknown or _RELOADED
        # A GPU that the driver does not show just now keeps its last counter.
        self._gpus = {**self._gpus, **now}
        return replace(energy, gpus=used, gpu_unknown=unknown)

    def _put(self, energy: Energy) -> None:
        self._energy = energy
        record = energy.to_record()
        if record != self._journal.info.energy:
            self._journal.put_info(replace(self._journal.info, energy=record))
