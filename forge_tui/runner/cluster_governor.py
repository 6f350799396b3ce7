"""How many workers may run at once on the nodes of a cluster, whose agents apply the rules of their machines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from forge_tui.resources.node_limit import NodeLimit, cluster_limit
from forge_tui.resources.policy import OtherRuns, WorkerLimit
from forge_tui.runner.governor import Governor, Load, Verdict

if TYPE_CHECKING:
    from forge_tui.resources.hardware import SystemResources
    from forge_tui.settings.schema import ResourceSettings


class ClusterGovernor(Governor):
    """Follows what the nodes allow together. The machine of the runner, and other runs on it, limit nothing."""

    counts_only = True

    def __init__(
        self,
        settings: ResourceSettings,
        limit: WorkerLimit,
        *,
        mode: str,
        cpus: int,
        nodes: Callable[[], Sequence[NodeLimit]],
    ) -> None:
        """`nodes`: what each node allows now; the same list while nothing changes."""
        super().__init__(settings, limit, mode=mode, cpus=cpus, estimate=None)
        self._nodes = nodes
        self._known: Sequence[NodeLimit] = ()

    @property
    def is_outdated(self) -> bool:  # type: ignore[override]
        """Whether nodes have come, gone, or changed what they allow, since the limit was found."""
        return self._nodes() is not self._known

    def request(self, workers: int, resources: SystemResources, load: Sequence[Load], others: OtherRuns) -> WorkerLimit:
        """Change the requested number of workers; returns the new limit."""
        self.requested = workers
        self.limit = self._found()
        return self.limit

    def look(self, resources: SystemResources, load: Sequence[Load], others: OtherRuns, now: float) -> Verdict:
        """Take over what the nodes allow now; a node that allows fewer has the workers that it has until they end."""
        found = self._found()
        if found.workers == self.limit.workers:
            return Verdict()
        self.limit = found
        return Verdict(limit=found)

    def hold(self, resources: SystemResources, load: Sequence[Load]) -> str | None:
        """Nothing beyond the number of slots: the nodes have the last word when a worker is placed."""
        return "" if len(load) >= self.slots else None

    def has_room(self, resources: SystemResources, load: Sequence[Load]) -> bool:
        """A node prepares its next worker itself."""
        return True

    def ran_out(self, beside: int, now: float) -> int:
        """The node of a worker that ran out of memory takes fewer by itself; returns the present limit."""
        return self.slots

    def _found(self) -> WorkerLimit:
        self._known = self._nodes()
        return cluster_limit(self.requested, self._known, mode=self._mode, policy=self._settings.policy)
