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
    """Tells what the other runs have taken, and them what this one takes: `threads` CPUs a worker.

    Where the state directory cannot be used each run keeps within the rules by itself; `problem` then says why.
    """

    def __init__(self, claims: Claims, threads: int) -> None:
        self._claims = claims
        self._threads = threads
        self.problem: str | None = None

    def decide(self, decision: Callable[[OtherRuns], _Decision], workers: Callable[[], int]) -> _Decision:
        """Decide, while no other run does, and claim what `workers` then says."""
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
        """What all other runs have taken together."""
        others = self._claims.others()
        return OtherRuns(sum(claim.workers for claim in others), sum(claim.cpus for claim in others))

    def release(self) -> None:
        """Claim nothing any more."""
        self._claims.release()
