"""This user's other live runs on this machine, as the governor needs them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from forge_tui.errors import RunDirectoryError
from forge_tui.resources.policy import OtherRuns
from forge_tui.runs.claims import Claims

_Decision = TypeVar("_Decision")


class OtherLiveRuns:
    """Reads the claims of the other runs, and publishes this run's: `threads` CPUs per worker.

    If the state directory cannot be used, each run keeps within the rules by itself; `problem` then says why.
    """

    def __init__(self, claims: Claims, threads: int) -> None:
        self._claims = claims
        self._threads = threads
        self.problem: str | None = None

    def decide(self, decision: Callable[[OtherRuns], _Decision], workers: Callable[[], int]) -> _Decision:
        """Run `decision` while no other run decides, then claim the number of `workers`."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._claims.deciding())
                others = self.taken()
            except RunDirectoryError as error:
                self.problem = str(error)
                return decision(OtherRuns())
            decided = decision(others)
            try:
                self._claims.set(workers(), self._threads)
            except RunDirectoryError as error:
                self.problem = str(error)
            return decided

    def taken(self) -> OtherRuns:
        """The total of all other runs."""
        others = self._claims.others()
        return OtherRuns(sum(claim.workers for claim in others), sum(claim.cpus for claim in others))

    def release(self) -> None:
        """Withdraw the claim."""
        self._claims.release()
