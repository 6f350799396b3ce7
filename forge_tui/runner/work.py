"""The scheduler's inputs: the run, the means to carry it out, limits of this machine, and watches."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from forge_tui.engines.base import Engine
from forge_tui.protocol.job import Job
from forge_tui.runner.code_copy import Code
from forge_tui.runner.code_watch import CodeWatch
from forge_tui.runner.device_costs import DeviceCosts
from forge_tui.runner.device_pool import DevicePool
from forge_tui.runner.directory_watch import DirectoryWatch
from forge_tui.runner.energy_account import EnergyAccount
from forge_tui.runner.governor import Governor
from forge_tui.runner.halving import Reached
from forge_tui.runner.journal import Journal
from forge_tui.runner.machine import Machine
from forge_tui.runner.other_runs import OtherLiveRuns
from forge_tui.runner.publisher import Publisher
from forge_tui.runner.search.sampler import Sampler
from forge_tui.runner.search.trials import BestEpochs
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.schema import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The run.

    `base_job` has the common values of all its jobs; `code` is its custom code, if any. From before a resume: `reached`
    has the rungs that models reached, in order, and `epochs` those of a search's models by index.
    """

    directory: RunDirectory
    settings: Settings
    base_job: Job
    journal: Journal
    code: Code = field(default_factory=Code)
    reached: tuple[Reached, ...] = ()
    epochs: Mapping[int, BestEpochs] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """The means. All callbacks run in the thread that waits on `selector`; `monotonic` measures time (seconds).

    `sampler` proposes the trials of a search; None: there is none.
    """

    engine: Engine
    publisher: Publisher
    selector: selectors.BaseSelector
    monotonic: Callable[[], float] = time.monotonic
    sampler: Sampler | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The run's GPUs, and what workers take of their memory."""

    pool: DevicePool
    costs: DeviceCosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Limits on the workers: the rules, the machine's state, this user's other runs, and GPUs (None: not on GPUs).

    `energy`: the account of what the run uses; None: it is not kept.
    """

    governor: Governor
    machine: Machine
    other_runs: OtherLiveRuns
    devices: Devices | None = None
    energy: EnergyAccount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watches:
    """Watches of the originals of custom code, and of the run directory; None: not watched."""

    code: CodeWatch | None = None
    directory: DirectoryWatch | None = None
