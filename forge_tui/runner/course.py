"""The state shared by the parts of the scheduler, which each of them may change."""

from __future__ import annotations

from dataclasses import dataclass, field

from forge_tui.protocol.phases import RunState
from forge_tui.runner import groups
from forge_tui.runner.alerts import DiskWatch
from forge_tui.runner.group_queue import GroupQueue
from forge_tui.runner.halving import Halving, rungs_of
from forge_tui.runner.retries import Retries
from forge_tui.runner.search.sampler import Sampler
from forge_tui.runner.search.search import Search
from forge_tui.runner.work import Work


@dataclass(slots=True, kw_only=True)
class Course:
    """`queue`: the waiting groups; `ending`: the state to end in, None while the run is to continue. `search`: None
    without one.

    `pausing`: all workers are to pause, with `pause_reason`; `waiting`: for another run.
    """

    queue: GroupQueue
    retries: Retries
    halving: Halving
    disk: DiskWatch
    search: Search | None = None
    ending: RunState | None = field(default=None, init=False)
    pausing: bool = field(default=False, init=False)
    pause_reason: str = field(default="", init=False)
    waiting: bool = field(default=False, init=False)

    @classmethod
    def begin(cls, work: Work, sampler: Sampler | None = None) -> Course:
        """The state at the start: every queued model waits for a worker. `sampler`: that of a search."""
        retries = Retries(work)
        models, settings = work.journal.models.values(), work.settings
        return cls(
            queue=GroupQueue(groups.queued(models, groups.width(settings), retries.likeness)),
            retries=retries,
            halving=Halving(settings.run.halving or 1, work.reached, rungs_of(settings)),
            disk=DiskWatch(work.directory.path),
            search=None if sampler is None else Search(settings, work.journal, sampler, work.epochs),
        )

    @property
    def is_ending(self) -> bool:
        """Whether the run is to end."""
        return self.ending is not None
