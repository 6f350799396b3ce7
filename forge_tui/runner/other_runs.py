"""This user's other live runs on this machine, as the governor needs them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from forge_tui.errors import RunDirectoryError
from forge_tui.resources.policy import DeviceShare, OtherRuns
from forge_tui.runs.claims import Claims

_Decision = TypeVar("_Decision")


class OtherLiveRuns:
    """Reads the claims of the other runs, and publishes this run's: `cpus` per worker, and its shares of devices.

    If the state directory cannot be used, each run keeps within the rules by itself; `problem` then says why.
    """

    def __init__(self, claims: Claims, cpus: int, *, is_elsewhere: bool = False) -> None:
        """`is_elsewhere`: the workers run on other machines; then the run neither claims anything nor heeds others."""
        self._claims = claims
        self._cpus = cpus
        self._is_elsewhere = is_elsewhere
        self.problem: str | None = None
        self.devices: Callable[[], tuple[DeviceShare, ...]] = lambda: ()
        """What this run has on its devices now."""

    def decide(self, decision: Callable[[OtherRuns], _Decision], workers: Callable[[], int]) -> _Decision:
        """Run `decision` while no other run decides, then claim the number of `workers`."""
        if self._is_elsewhere:
            return decision(OtherRuns())
        with ExitStack() as stack:
            try:
                stack.enter_context(self._claims.deciding())
                others = self.taken()
            except RunDirectoryError as error:
                self.problem = str(error)
                return decision(OtherRuns())
            decided = decision(others)
            try:
                self._claims.set(workers(), self._cpus, self.devices())
            except RunDirectoryError as error:
                self.problem = str(error)
            return decided

    def taken(self) -> OtherRuns:
        """The total of all other runs."""
        others = self._claims.others()
        return OtherRuns(
            sum(claim.workers for claim in others),
            sum(claim.cpus for claim in others),
            tuple(share for claim in others for share in claim.devices),
        )

    def release(self) -> None:
        """Withdraw the claim."""
        self._claims.release()
