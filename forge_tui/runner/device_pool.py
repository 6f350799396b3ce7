"""Which devices a worker gets, or why none now. Pure: figures in, verdicts out.

A device is taken if a worker's need fits into what is left on it: free memory, less the reserve and less what workers
on it will still take until their peak. A worker counts with its whole need from its start on, until it is seen to hold
memory. Under policy `shared` only devices that others leave idle are taken. On a cluster all devices of a worker are
on one node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from forge_tui.resources.gpus import Gpu
from forge_tui.resources.policy import CONTEXT_BYTES, GIB, DeviceShare
from forge_tui.runner.device_figures import DeviceLoad, DeviceNow, Held, Placed, Waiting
from forge_tui.runner.patience import Patience

# Under policy `shared` others leave a device idle if they have at most this share of its memory, or this much (a
# desktop has 0.1 to 0.6 GiB), and, while no worker of this user is on it, use it at most this much.
IDLE_MEMORY_SHARE = 0.05
IDLE_MEMORY = GIB
IDLE_PERCENT = 10.0
# After this much time without a lack of memory one more worker is tried on a device.
GROW_SECONDS = 30.0
_FULL = "too little is left"
# A reason names at most so many devices one by one.
_MOST_IN_WORDS = 4


@dataclass(slots=True)
class _Cap:
    """After a lack of memory: the most workers of this run on a device, raised again after quiet times."""

    workers: int
    since: float
    patience: Patience = field(default_factory=lambda: Patience(GROW_SECONDS))


class DevicePool:
    """The devices of a run, by UUID, in order of preference."""

    def __init__(self, uuids: Sequence[str], *, per_model: int, reserve: float, shared: bool) -> None:
        """`per_model`: devices of each worker; `reserve`: share of a device's memory that stays free; `shared`: policy
        `shared`.
        """
        self._uuids = tuple(uuids)
        self._hosts: dict[str, str] = {}
        """The node of each device, on a cluster."""
        self._is_on_nodes = False
        self._per_model = per_model
        self._reserve = reserve
        self._shared = shared
        self._lost: dict[str, str] = {}
        self._caps: dict[str, _Cap] = {}
        self._gpus: dict[str, Gpu] = {}
        self._known: dict[str, Gpu] = {}
        """Those of `_gpus` and those that are gone."""
        self._at_sample: dict[str, int] = {}
        """What this run's workers held on their devices at the last sample: part of its figures until the next one."""

    # --- the devices' state

    def have(self, uuids: Sequence[str], hosts: Mapping[str, str]) -> None:
        """Take the devices of a cluster's present nodes, and the node of every GPU.

        What has gone with its node is not lost: it may come back with it.
        """
        self._uuids, self._hosts, self._is_on_nodes = tuple(uuids), dict(hosts), True
        self._gpus = {uuid: gpu for uuid, gpu in self._gpus.items() if uuid in hosts}
        self._lost = {uuid: reason for uuid, reason in self._lost.items() if uuid in hosts}

    def host(self, uuid: str) -> str | None:
        """The node of a device; None on this machine, or if it is not known any more."""
        return self._hosts.get(uuid)

    def see(
        self, gpus: Sequence[Gpu], loads: Iterable[DeviceLoad], now: float, host: str | None = None
    ) -> dict[str, str]:
        """Take the present figures of devices, of a cluster those of one `host`; returns newly lost ones by UUID, with
        the reason in words.

        Without any figures (the driver does not answer) the last ones stay. `loads`: this run's workers, leaving ones
        too; `now`: monotonic seconds.
        """
        if gpus:
            elsewhere = {uuid for uuid in self._gpus if self._hosts.get(uuid) != host}
            self._gpus = {gpu.uuid: gpu for gpu in gpus} | {uuid: self._gpus[uuid] for uuid in elsewhere}
            self._known |= self._gpus
            self._at_sample = {uuid: held for uuid, held in self._at_sample.items() if uuid in elsewhere}
            for load in loads:
                for uuid in set(load.devices) - elsewhere:
                    self._at_sample[uuid] = self._at_sample.get(uuid, 0) + load.held.get(uuid, 0)
        newly = {}
        for uuid in self.usable:
            if self._hosts.get(uuid) != host:
                continue
            gpu = self._gpus.get(uuid)
            problem = None if gpu is None else gpu.problem
            if gpu is None and gpus and uuid in self._known:
                problem = "the driver does not show it any more"
            if problem is not None:
                newly[uuid] = self.lose(uuid, problem)
        for cap in self._caps.values():
            if now - cap.since >= cap.patience.seconds:
                cap.workers, cap.since = cap.workers + 1, now
                cap.patience.grew(now)
        return newly

    def lose(self, uuid: str, reason: str) -> str:
        """Take a device out; returns that in words."""
        self._lost[uuid] = reason
        return self._words(uuid, reason)

    def _words(self, uuid: str, reason: str) -> str:
        return f"{self.name(uuid)}: {reason}; nothing is placed on it any more"

    @property
    def broken(self) -> dict[str, str]:
        """The lost devices that the driver calls broken or does not show, with the reason in words."""
        return {
            uuid: self._words(uuid, reason)
            for uuid, reason in self._lost.items()
            if (uuid in self._known and uuid not in self._gpus)
            or (uuid in self._gpus and self._gpus[uuid].problem is not None)
        }

    def is_lost(self, uuid: str) -> bool:
        """Whether it was taken out."""
        return uuid in self._lost

    @property
    def usable(self) -> tuple[str, ...]:
        """The devices that were not taken out."""
        return tuple(uuid for uuid in self._uuids if uuid not in self._lost)

    @property
    def stranded(self) -> str | None:
        """Why no worker can ever be placed, or None. Without a lost device that is a node's matter, which may come."""
        if self._most_on_one(self.usable) >= self._per_model or not self._lost:
            return None
        lost = "; ".join(f"{self.name(uuid)}: {reason}" for uuid, reason in self._lost.items())
        few = f"{len(self.usable)} of the run's devices are left, and a model takes {self._per_model}"
        what = "no device of the run is left" if not self.usable else few
        return f"{what} ({lost}); the run can be resumed when they are back"

    def ran_out(self, uuids: Iterable[str], beside: int, now: float) -> int:
        """Allow fewer workers on devices where one ran out of memory beside `beside` others; returns how many."""
        workers = max(1, beside)
        for uuid in uuids:
            cap = self._caps.setdefault(uuid, _Cap(workers, now))
            cap.workers, cap.since = min(cap.workers, workers), now
            cap.patience.fell(now)
        return workers

    def total(self, uuids: Iterable[str]) -> int:
        """Bytes of the smallest of these devices; 0 if unknown."""
        return min((self._known[uuid].memory_total for uuid in uuids if uuid in self._known), default=0)

    def has_larger(self, total: int) -> bool:
        """Whether there are enough devices for a model with more memory than `total` bytes."""
        larger = [uuid for uuid in self.usable if uuid in self._gpus and self._gpus[uuid].memory_total > total]
        return self._most_on_one(larger) >= self._per_model

    def _most_on_one(self, uuids: Iterable[str]) -> int:
        """How many of these devices one machine has at most."""
        return max(Counter(self._hosts.get(uuid) for uuid in uuids).values(), default=0)

    def name(self, uuid: str) -> str:
        """A device in words: its kind, number and UUID, and on a cluster its node."""
        gpu, host = self._known.get(uuid), self._hosts.get(uuid)
        where = "" if host is None else f" of {host}"
        if gpu is None:
            return f"{uuid}{where}"
        return f"{'MIG device' if gpu.parent else 'GPU'} {gpu.index} ({_short(uuid)}){where}"

    def names(self, uuids: Iterable[str]) -> str:
        """Several devices in words."""
        return " and ".join(map(self.name, uuids))

    # --- placing

    def choose(
        self,
        waiting: Iterable[Waiting],
        loads: Sequence[DeviceLoad],
        shares: Sequence[DeviceShare],
        closed: Mapping[str, str] | None = None,
    ) -> Placed | Held:
        """The first waiting group that fits now, and where; or why none does.

        `loads`: this run's workers; `shares`: what this user's other runs have; `closed`: why nothing can be placed on
        some devices now, whatever their memory. If the first group does not fit, a later one may start, but not where
        the first one will fit soonest.
        """
        devices = [self._device(uuid, loads, shares) for uuid in self.usable]
        kept: set[str] = set()
        held: str | None = None
        for position, group in enumerate(waiting):
            largest = max((device.gpu.memory_total for device in devices), default=0)
            lacks = {
                device.gpu.uuid: (closed or {}).get(device.gpu.uuid) or self._lack(device, group, largest)
                for device in devices
            }
            fitting = [one for one in devices if lacks[one.gpu.uuid] is None and one.gpu.uuid not in kept]
            chosen = self._best(fitting)
            if chosen:
                return Placed(position, tuple(one.gpu.uuid for one in chosen), self._why(group, chosen))
            if held is None:
                held = self._why_held(group, devices, lacks)
                kept = self._soonest(devices, group)
        return Held(held or "")

    def _best(self, fitting: Sequence[DeviceNow]) -> list[DeviceNow]:
        """The devices for one worker, all of one machine: those with the fewest workers, then with the most room."""
        ordered = sorted(fitting, key=lambda one: (one.workers, -one.left))
        return min(self._sets(ordered), key=lambda one: sum(device.workers for device in one), default=[])

    def _sets(self, ordered: Sequence[DeviceNow]) -> list[list[DeviceNow]]:
        """Of each machine its first devices, as many as a worker has; machines that are complete first come first."""
        by_host: dict[str | None, list[DeviceNow]] = {}
        found = []
        for device in ordered:
            here = by_host.setdefault(self._hosts.get(device.gpu.uuid), [])
            here.append(device)
            if len(here) == self._per_model:
                found.append(here[:])
        return found

    def _device(self, uuid: str, loads: Sequence[DeviceLoad], shares: Sequence[DeviceShare]) -> DeviceNow:
        # One that torch shows and the driver does not: nothing is known of its memory.
        gpu = self._gpus.get(uuid) or Gpu(self._uuids.index(uuid), "", 0, 0, uuid=uuid)
        ours = [load for load in loads if uuid in load.devices]
        others = [share for share in shares if share.uuid == uuid]
        growth = sum(load.growth(uuid) for load in ours) + sum(share.growth for share in others)
        held = sum(load.at_most(uuid) for load in ours)
        own = max(held, self._at_sample.get(uuid, 0)) + sum(share.held for share in others)
        return DeviceNow(
            gpu=gpu,
            ours=len(ours),
            others=sum(share.workers for share in others),
            left=gpu.memory_free - growth - int(self._reserve * gpu.memory_total),
            foreign=max(0, gpu.memory_used - own),
            unmeasured=any(load.need.memory is None for load in ours),
        )

    def _lack(self, device: DeviceNow, group: Waiting, largest: int) -> str | None:
        """Why the group cannot start on this device now, or None."""
        gpu, need = device.gpu, group.need.memory
        if 0 < gpu.memory_total <= group.above:
            return f"it ran out of memory alone on a device with {_gib(group.above)}"
        if not gpu.memory_total:
            return "the driver tells nothing of its memory: one worker at once" if device.workers else None
        if device.unmeasured:
            return "it is not measured yet how much the worker on it needs"
        cap = self._caps.get(gpu.uuid)
        if cap is not None and device.ours >= cap.workers:
            return f"at most {cap.workers} at once on it after a lack of memory"
        if self._shared and (busy := self._others_use(device)) is not None:
            return busy
        if need is None and device.workers:
            return "it is not known how much a worker needs beside others"
        if need is None:
            return None if device.left >= CONTEXT_BYTES else _FULL
        if need <= device.left:
            return None
        if self._is_tried_alone(device, need, largest):
            return None
        return _FULL if self._may_fit(gpu, group) else f"less than that in all{self._kept_free}"

    @property
    def _kept_free(self) -> str:
        return f" without the {100 * self._reserve:g} % to be kept free" if self._reserve else ""

    def _may_fit(self, gpu: Gpu, group: Waiting) -> bool:
        """Whether the group would fit on the device if nobody else was on it."""
        return gpu.memory_total > group.above and (group.need.memory or 0) <= (1 - self._reserve) * gpu.memory_total

    def _soonest(self, devices: Sequence[DeviceNow], group: Waiting) -> set[str]:
        """The devices where the group will probably fit first: when workers of this run end, not others' processes."""

        def is_up_to_us(device: DeviceNow) -> bool:
            if self._shared and self._others_use(device) is not None:
                return False
            room = (1 - self._reserve) * device.gpu.memory_total - device.foreign
            return (group.need.memory or 0) <= room

        soonest = sorted(devices, key=lambda one: (not self._may_fit(one.gpu, group), not is_up_to_us(one), -one.left))
        return {one.gpu.uuid for one in next(iter(self._sets(soonest)), [])}

    def _others_use(self, device: DeviceNow) -> str | None:
        """How others use the device too much for policy `shared`, or None.

        The driver counts use per device, so it tells nothing about others while a worker of this user is on it.
        """
        gpu, percent = device.gpu, device.gpu.utilization_percent
        if device.foreign > max(IDLE_MEMORY, IDLE_MEMORY_SHARE * gpu.memory_total):
            return f"others have {_gib(device.foreign)} of it (policy shared)"
        was_ours = device.workers or gpu.uuid in self._at_sample
        if not was_ours and percent is not None and percent > IDLE_PERCENT:
            return f"others use it, {percent:.0f} % (policy shared)"
        return None

    def _is_tried_alone(self, device: DeviceNow, need: int, largest: int) -> bool:
        """Whether a worker that seems to need more than any device has may be tried, on a largest and empty one."""
        gpu = device.gpu
        is_empty = not device.workers and device.foreign <= max(IDLE_MEMORY, IDLE_MEMORY_SHARE * gpu.memory_total)
        return is_empty and gpu.memory_total == largest and need > (1 - self._reserve) * largest - device.foreign

    def _why(self, group: Waiting, chosen: Sequence[DeviceNow]) -> str:
        first = min(chosen, key=lambda one: one.left)
        each = " on each" if len(chosen) > 1 else ""
        beside = sum(device.workers for device in chosen)
        company = f", beside {beside} worker{'s' if beside > 1 else ''}" if beside else ""
        need = group.need.memory
        if not first.gpu.memory_total:
            return f"{group.name} on {self.names(device.gpu.uuid for device in chosen)}: nothing is known of its memory"
        if need is None:
            needs = "it is not measured yet how much it needs, so it is alone there"
        elif need > first.left:
            needs = f"it seems to need {_gib(need)} ({group.need.source}), more than any device has, and is tried alone"
        else:
            needs = f"it needs {_gib(need)} ({group.need.source}, with a margin)"
        where = self.names(device.gpu.uuid for device in chosen)
        return f"{group.name} on {where}{company}: {_gib(first.left)} are left{each}, and {needs}"

    def _why_held(self, group: Waiting, devices: Sequence[DeviceNow], lacks: Mapping[str, str | None]) -> str:
        reasons: dict[str, list[str]] = {}
        full = [device for device in devices if lacks[device.gpu.uuid] == _FULL]
        for device in devices:
            if device not in full:
                reasons.setdefault(lacks[device.gpu.uuid] or "room for it", []).append(self.name(device.gpu.uuid))
        words = []
        if full:
            most = max(full, key=lambda one: one.left)
            which = "" if len(full) == 1 else f", the most of {len(full)}"
            words.append(f"{self.name(most.gpu.uuid)}: {_gib(max(0, most.left))} are left{which}")
        for reason, names in reasons.items():
            more = f" and {len(names) - _MOST_IN_WORDS} more" if len(names) > _MOST_IN_WORDS else ""
            words.append(f"{', '.join(names[:_MOST_IN_WORDS])}{more}: {reason}")
        need = group.need.memory
        needs = "" if need is None else f", which needs {_gib(need)} ({group.need.source}, with a margin)"
        several = f" on {self._per_model} devices" if self._per_model > 1 else ""
        none = "No node with a GPU for it is there" if self._is_on_nodes else "The driver shows no device"
        return f"no room for {group.name}{needs}{several}. {'; '.join(words) or none}"


def _short(uuid: str) -> str:
    """A UUID's first digits, which name it: `GPU-8f3c91d2`."""
    kind, _, digits = uuid.partition("-")
    return f"{kind}-{digits[:8]}" if digits else uuid


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB"
