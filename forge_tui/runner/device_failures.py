"""Failures on a GPU: a lack of its memory, or a device that has failed."""

from __future__ import annotations

from dataclasses import replace

from forge_tui.protocol.device_faults import DeviceFault, fault_in
from forge_tui.protocol.events import ModelFailed
from forge_tui.resources.policy import GIB
from forge_tui.runner.attempt import Attempt
from forge_tui.runner.consequences import OnDevice
from forge_tui.runner.device_source import DeviceSource
from forge_tui.runner.work import Means, Room, Work


class DeviceFaults:
    """Judges the failures of workers on GPUs, and changes what the run expects of its devices."""

    def __init__(self, work: Work, means: Means, room: Room) -> None:
        self._journal, self._monotonic = work.journal, means.monotonic
        self._devices = room.devices
        self._source = DeviceSource(room.machine, means.engine)

    def judged(self, attempt: Attempt, failure: ModelFailed, beside: int) -> ModelFailed:
        """The failure; of kind `device_lost` if the device has failed, which is then taken out of the run.

        `beside`: other workers of this run on it. A busy device without any is another user's alone.
        """
        if self._devices is None or not attempt.devices or failure.kind == "device_lost":
            return failure
        fault = fault_in(failure.message)
        if fault in (None, DeviceFault.MEMORY) or (fault is DeviceFault.BUSY and beside):
            return failure
        pool = self._devices.pool
        failed = [uuid for uuid in attempt.devices if pool.is_lost(uuid)]
        if not failed:
            present = self._source.problems()
            failed = [uuid for uuid in attempt.devices if present.get(uuid) is not None]
            if not failed and fault is not DeviceFault.DOUBTFUL and len(attempt.devices) == 1:
                failed = list(attempt.devices)
            for uuid in failed:
                self._journal.warn("device", pool.lose(uuid, failure.message))
        return replace(failure, kind="device_lost") if failed else failure

    def lack(self, attempt: Attempt, failure: ModelFailed, beside: int) -> OnDevice | None:
        """Where a device's memory ran out, or it took no process beside `beside` others of this run; else None."""
        if self._devices is None or not attempt.devices:
            return None
        fault = fault_in(failure.message)
        is_full = failure.kind == "out_of_memory" and fault is DeviceFault.MEMORY
        if not is_full and not (fault is DeviceFault.BUSY and beside):
            return None
        pool = self._devices.pool
        return OnDevice(beside=beside, has_larger=pool.has_larger(pool.total(attempt.devices)))

    def fewer(self, attempt: Attempt, beside: int, failure: ModelFailed) -> None:
        """Allow fewer workers on the devices where one has failed so beside others."""
        assert self._devices is not None
        pool = self._devices.pool
        workers = pool.ran_out(attempt.devices, beside, self._monotonic())
        where = pool.names(attempt.devices)
        at_once = f"at most {workers} worker{'s' if workers > 1 else ''} at once on it from now on"
        is_busy = fault_in(failure.message) is DeviceFault.BUSY
        what = "was refused by" if is_busy else "ran out of memory on"
        self._journal.decide("shrink", f"{attempt.name} {what} {where}: {at_once}")

    def needs_more(self, attempt: Attempt) -> None:
        """Place such models only on devices with more memory: one ran out of memory alone on its device."""
        assert self._devices is not None
        assert attempt.on_devices is not None
        total = self._devices.pool.total(attempt.devices)
        self._devices.costs.outgrew(attempt.on_devices.kind, total)
        where = self._devices.pool.names(attempt.devices)
        self._journal.decide(
            "place", f"{attempt.name} ran out of memory alone on {where}: only with more than {total / GIB:.1f} GiB now"
        )
