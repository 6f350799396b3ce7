"""How models leave a trainer before the others of their group: diverged, cancelled, pruned, or finished early."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from forge_tui.protocol.job import Control, Job
from forge_tui.protocol.metrics import MetricTable
from forge_tui.training.checkpoint import Checkpoint
from forge_tui.training.failures import Diverged
from forge_tui.training.group_state import GroupState
from forge_tui.training.members import Members
from forge_tui.training.saving import NEXT_IS_TRIED, Saving
from forge_tui.training.state import TrainingState

AtRung = Callable[[Job, int, float | None], None]
"""Called with a model's epoch at a rung and its measure there (`MetricTable.measure`)."""


class Departures:
    """Takes models out of a group, so that those that stay continue as a resume would find them."""

    def __init__(
        self,
        members: Members,
        control: Control,
        environment: dict[str, Any],
        new_state: Callable[[], TrainingState],
        metrics: MetricTable,
        at_rung: AtRung | None,
    ) -> None:
        """`environment`: what the bytes depend on, the size of the group among it. `new_state` gives an untrained one.

        `at_rung`: None where the models are not compared.
        """
        self._members = members
        self._control = control
        self._environment = environment
        self._new_state = new_state
        self._metrics = metrics
        self._at_rung = at_rung
        self._judged_epoch = 0
        self.saving: Saving
        """Set by whoever makes both: each needs the other."""

    def diverged(self, state: TrainingState, losses: Sequence[float]) -> None:
        """Take out those whose `losses` (of the epoch that is done) are NaN or infinite.

        Raises `Diverged` where none is left.
        """
        for number in reversed([number for number, loss in enumerate(losses) if not math.isfinite(loss)]):
            what = f"the loss of epoch {state.epoch} is {losses[number]}"
            self._leave(state, number, Diverged(what, state.epoch, state.learning_rate(number)))

    def infinite(self, state: TrainingState) -> None:
        """Take out those whose weights are not finite. Raises `Diverged` where none is left."""
        for number in reversed(range(len(self._members))):
            if not state.weights_are_finite(number):
                what = f"weights are NaN or infinite after epoch {state.epoch}"
                self._leave(state, number, Diverged(what, state.epoch, state.learning_rate(number)))

    def cancelled(self, state: TrainingState) -> None:
        """Take out those that the runner wants to leave, with a checkpoint."""
        members = list(enumerate(self._members))
        for number in reversed([n for n, member in members if self._control.pop_leave_request(member.job.index)]):
            self._leave(state, number, None)

    def finished(self, state: TrainingState, numbers: Sequence[int]) -> TrainingState:
        """Take out those that are written; the state of the others.

        These have a checkpoint of this step: a smaller group may round otherwise, and a resume is to begin with it
        where it began here.
        """
        assert isinstance(state, GroupState)
        return state if len(numbers) == len(self._members) else self._without(state, numbers)

    def pruned(self, state: TrainingState) -> TrainingState | None:
        """At a rung take out those that the runner ends because others do better, with a checkpoint.

        The state of the others; None where nobody leaves. If all of them end, a stop is asked for.
        """
        indexes = self._judged(state)
        if not indexes:
            return None
        if len(indexes) == len(self._members) or not isinstance(state, GroupState):
            self._control.request_stop()
            return state
        for number in self._members.numbers(indexes):
            state.progress[number].exact = False  # if it is ever trained further, then alone
        self._environment["group"] = len(self._members) - len(indexes)
        self.saving.try_now(state, NEXT_IS_TRIED)
        numbers = self._members.numbers(indexes)
        if len(numbers) == len(self._members):
            self._control.request_stop()
            return state
        return self._without(state, numbers)

    def _judged(self, state: TrainingState) -> set[int]:
        """The models (by index) that end at this rung; the runner is asked once."""
        epoch, rungs = state.epoch, self._members[0].job.rungs
        if self._at_rung is None or epoch not in rungs or epoch == self._judged_epoch or state.step_in_epoch:
            return set()
        self._judged_epoch = epoch
        for member, progress in zip(self._members, state.progress, strict=True):
            self._at_rung(member.job, epoch, self._metrics.measure(progress.history[-1].metrics))
        indexes = [member.job.index for member in self._members]
        return {index for index in indexes if not self._control.wait_for_verdict(index, epoch)}

    def _leave(self, state: TrainingState, number: int, why: Diverged | None) -> None:
        """A model leaves: with a checkpoint, or because it has diverged. The last one ends the attempt."""
        if not isinstance(state, GroupState) or len(self._members) == 1:
            if why is not None:
                raise why
            self._control.request_stop()
            return
        # Once it has left, another worker may have it: nothing may be written of it then.
        self.saving.wait()
        if why is None:
            state.progress[number].exact = False
            self.saving.save_one(state, number)
        self._members.remove(state, number, why)

    def _without(self, state: GroupState, numbers: Sequence[int]) -> TrainingState:
        """The state without some of its models."""
        for number in reversed(numbers):
            self._members.remove(state, number, None)
        if len(self._members) > 1:
            return state
        # Alone, as a resume would find it.
        (member,) = self._members
        left = Checkpoint(path=member.checkpoints, record=state.record(0), tensors=state.tensors(0))
        single = self._new_state()
        single.restore([left])
        return single
