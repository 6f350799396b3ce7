"""What each worker of this run has on its GPUs: by the driver's figures, else by the workers' own reports."""

from __future__ import annotations

from collections.abc import Collection

from forge_tui.resources.gpus import Gpu
from forge_tui.resources.host_gpus import HostGpus
from forge_tui.resources.policy import DeviceShare
from forge_tui.runner.attempt import Attempt, OnDevices
from forge_tui.runner.device_costs import Need
from forge_tui.runner.device_figures import DeviceLoad
from forge_tui.runner.device_source import DeviceSource
from forge_tui.runner.work import Devices, Means, Room, Work

# A worker that reports no epoch counts as measured after this time.
_SETTLED_SECONDS = 60.0
# Claims of devices are written in steps of this size: not with every small change.
_CLAIM_BYTES = 64 << 20


class DeviceUse:
    """Follows the workers' memory on the devices, and takes out devices that are lost."""

    def __init__(self, work: Work, means: Means, room: Room, devices: Devices) -> None:
        self._journal = work.journal
        self._engine, self._monotonic = means.engine, means.monotonic
        self._devices = devices
        self._source = DeviceSource(room.machine, means.engine)
        self._read: dict[str | None, int] = {}
        """The sample of each machine whose figures were taken last."""
        self._changes: int | None = None

    def loads(self, attempts: Collection[Attempt]) -> list[DeviceLoad]:
        """The workers' needs, leaving ones too: they still have their memory."""
        found = []
        for attempt in attempts:
            on = attempt.on_devices
            if on is not None:
                found.append(DeviceLoad(on.devices, self._need(on), dict(on.held)))
        return found

    def shares(self, attempts: Collection[Attempt]) -> tuple[DeviceShare, ...]:
        """What this run has on each device, for this user's other runs."""
        found = []
        loads = self.loads(attempts)
        for uuid in dict.fromkeys(uuid for load in loads for uuid in load.devices):
            here = [load for load in loads if uuid in load.devices]
            held = sum(load.at_most(uuid) for load in here)
            growth = sum(load.growth(uuid) for load in here)
            if any(load.need.memory is None for load in here):
                # Nothing is known: it is all taken.
                held = growth = max(growth, self._devices.pool.total((uuid,)))
            found.append(DeviceShare(uuid, len(here), _rounded(held), _rounded(growth)))
        return tuple(found)

    def reported(self, attempt: Attempt, gpu_memory: int) -> None:
        """Take a worker's own report of its peak on a device (bytes)."""
        on = attempt.on_devices
        if on is None:
            return
        if on.reported is None:
            on.reported_at = self._source.sample(self._devices.pool.host(on.devices[0]))
        on.reported = max(gpu_memory, on.reported or 0)
        self._keep(on)

    def see(self, attempts: Collection[Attempt]) -> None:
        """Take the newest figures of each machine. The workers on a device that is lost are ended."""
        self._follow_nodes()
        pool, now = self._devices.pool, self._monotonic()
        on_gpus = [attempt for attempt in attempts if attempt.on_devices is not None]
        lost: dict[str, str] = {}
        for host in self._source.hosts():
            is_new = self._read.get(host.host) != host.read
            self._read[host.host] = host.read
            if is_new and host.gpus:
                self._take(host, on_gpus)
            lost |= pool.see(host.gpus if is_new else (), self.loads(attempts), now, host.host)
        for words in lost.values():
            self._journal.warn("device", words)
        for uuid, words in pool.broken.items():
            self._end_on(uuid, words, on_gpus)

    def see_changes(self, attempts: Collection[Attempt]) -> int:
        """As `see`, if nodes with GPUs have come or gone; returns what distinguishes that from before."""
        cluster = self._engine.cluster_gpus()
        if cluster is not None and cluster.changes != self._changes:
            self.see(attempts)
        return self._changes or 0

    def _follow_nodes(self) -> None:
        """Have the devices of a cluster's present nodes."""
        cluster = self._engine.cluster_gpus()
        if cluster is None or cluster.changes == self._changes:
            return
        self._changes = cluster.changes
        hosts = {gpu.uuid: host.host for host in cluster.hosts for gpu in host.gpus if host.host is not None}
        self._devices.pool.have(cluster.uuids, hosts)
        there = {host.host for host in cluster.hosts}
        self._read = {host: read for host, read in self._read.items() if host in there}

    def _take(self, host: HostGpus, on_gpus: Collection[Attempt]) -> None:
        """Take new figures of a machine for the workers there."""
        there = [attempt for attempt in on_gpus if self._devices.pool.host(attempt.devices[0]) == host.host]
        for attempt in there:
            assert attempt.on_devices is not None
            here = host.held.get(attempt.worker.id, {})
            attempt.on_devices.see({uuid: here[uuid] for uuid in attempt.devices if uuid in here}, host.read)
            if attempt.on_devices.is_unseen:
                attempt.on_devices.hold(self._unnamed(attempt, there, host.gpus))
            self._keep(attempt.on_devices)

    def _unnamed(self, attempt: Attempt, attempts: Collection[Attempt], gpus: Collection[Gpu]) -> dict[str, int]:
        """Bytes of processes that the driver does not name, as in a container, on a worker's devices; empty if it is
        not the only one of this run there.
        """
        if any(other is not attempt and set(other.devices) & set(attempt.devices) for other in attempts):
            return {}
        return {
            gpu.uuid: max(0, gpu.memory_used - sum(process.memory or 0 for process in gpu.processes or ()))
            for gpu in gpus
            if gpu.uuid in attempt.devices
        }

    def _end_on(self, uuid: str, words: str, attempts: Collection[Attempt]) -> None:
        """End the workers on a lost device: they would wait for it, or train on it with errors."""
        for attempt in attempts:
            if uuid not in attempt.devices or attempt.leaving in ("killed", "withdrawn"):
                continue
            if not attempt.is_placed:
                attempt.withdraw()
                continue
            for index, job in attempt.jobs.items():
                attempt.failures.setdefault(index, attempt.lost_device(job, self._journal.clock(), words))
            attempt.worker.kill()

    def _need(self, on: OnDevices) -> Need:
        """What a running worker takes at its peak: as others of its kind, and at least what it has taken already."""
        need = self._devices.costs.need(on.kind)
        if need.memory is None:
            return need
        return need if on.peak is None or on.peak <= need.memory else Need(on.peak, "measured")

    def _keep(self, on: OnDevices) -> None:
        if on.peak is not None and (on.is_measured or self._monotonic() - on.began >= _SETTLED_SECONDS):
            self._devices.costs.take(on.kind, on.peak)


def _rounded(size: int) -> int:
    """Rounded up, so that others count on no more than is there."""
    return -(-size // _CLAIM_BYTES) * _CLAIM_BYTES
