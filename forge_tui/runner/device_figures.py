"""What is known of devices, of workers on them and of those that wait, when one is placed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forge_tui.resources.gpus import Gpu
from forge_tui.runner.device_costs import Need


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """A worker of this run on `devices`. `held`: bytes that it is seen to hold on each; missing: not seen yet."""

    devices: tuple[str, ...]
    need: Need
    held: Mapping[str, int] = field(default_factory=dict)

    def at_most(self, uuid: str) -> int:
        """Bytes that it may have there by now: what is not seen yet may be in the driver's figures already, and must
        not count as others'.
        """
        return self.held.get(uuid, self.need.memory or 0)

    def growth(self, uuid: str) -> int:
        """Bytes that it will still take there; all that it needs if it is not seen yet."""
        return max(0, (self.need.memory or 0) - self.held.get(uuid, 0))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A group that waits. `above`: it ran out of memory alone on a device with so many bytes, and needs more."""

    name: str
    need: Need
    above: int = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """The group at `position` of the waiting ones gets `devices`; `reason` in words."""

    position: int
    devices: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """No waiting group can start now; `reason` in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeviceNow:
    """A device at this moment. `ours`: workers of this run, `others`: of this user's other runs.

    `left`: bytes for a further worker, below 0 if it is overfull; `foreign`: bytes that other users have; `unmeasured`:
    a worker on it takes an unknown amount.
    """

    gpu: Gpu
    ours: int
    others: int
    left: int
    foreign: int
    unmeasured: bool

    @property
    def workers(self) -> int:
        """All of this user on it."""
        return self.ours + self.others
