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
    """Removes models from a group, such that the others continue as after a resume."""

    def __init__(
        self,
        members: Members,
        control: Control,
        environment: dict[str, Any],
        new_state: Callable[[], TrainingState],
        metrics: MetricTable,
        at_rung: AtRung | None,
    ) -> None:
        """`environment`: conditions that affect the bytes, with the group's size. `new_state` makes untrained models.

        `at_rung`: None without halving.
        """
        self._members = members
        self._control = control
        self._environment = environment
        self._new_state = new_state
        self._metrics = metrics
        self._at_rung = at_rung
        self._judged_epoch = 0
        self.saving: Saving
        """Set later, because both need each other."""

    def diverged(self, state: TrainingState, losses: Sequence[float]) -> None:
        """Remove models whose `losses` (of the finished epoch) are NaN or infinite.

        Raises `Diverged` if none is left.
        """
        for number in reversed([number for number, loss in enumerate(losses) if not math.isfinite(loss)]):
            what = f"the loss of epoch {state.epoch} is {losses[number]}"
            self._leave(state, number, Diverged(what, state.epoch, state.learning_rate(number)))

    def infinite(self, state: TrainingState) -> None:
        """Remove models with infinite weights. Raises `Diverged` if none is left."""
        for number in reversed(range(len(self._members))):
            if not state.weights_are_finite(number):
                what = f"weights are NaN or infinite after epoch {state.epoch}"
                self._leave(state, number, Diverged(what, state.epoch, state.learning_rate(number)))

    def cancelled(self, state: TrainingState) -> None:
        """Remove models that the runner has asked to leave, with a checkpoint."""
        members = list(enumerate(self._members))
        for number in reversed([n for n, member in members if self._control.pop_leave_request(member.job.index)]):
            self._leave(state, number, None)

    def finished(self, state: TrainingState, numbers: Sequence[int]) -> TrainingState:
        """Remove finished models; returns the state of the others.

        The others get a checkpoint of this step: a smaller group may round differently, and a resume must start with it
        at the same step.
        """
        assert isinstance(state, GroupState)
        return state if len(numbers) == len(self._members) else self._without(state, numbers)

    def pruned(self, state: TrainingState) -> TrainingState | None:
        """Remove models that halving stops at a rung, with a checkpoint.

        Returns the state of the others; None if no model leaves. If all leave, a stop is requested.
        """
        indexes = self._judged(state)
        if not indexes:
            return None
        if len(indexes) == len(self._members) or not isinstance(state, GroupState):
            self._control.request_stop()
            return state
        for number in self._members.numbers(indexes):
            state.progress[number].exact = False  # if it is ever trained further, then not in this group
        self._environment["group"] = len(self._members) - len(indexes)
        self.saving.try_now(state, NEXT_IS_TRIED)
        numbers = self._members.numbers(indexes)
        if len(numbers) == len(self._members):
            self._control.request_stop()
            return state
        return self._without(state, numbers)

    def _judged(self, state: TrainingState) -> set[int]:
        """The models (by index) that stop at this rung; the runner is asked once."""
        epoch, rungs = state.epoch, self._members[0].job.rungs
        if self._at_rung is None or epoch not in rungs or epoch == self._judged_epoch or state.step_in_epoch:
            return set()
        self._judged_epoch = epoch
        for member, progress in zip(self._members, state.progress, strict=True):
            self._at_rung(member.job, epoch, self._metrics.measure(progress.history[-1].metrics))
        indexes = [member.job.index for member in self._members]
        return {index for index in indexes if not self._control.wait_for_verdict(index, epoch)}

    def _leave(self, state: TrainingState, number: int, why: Diverged | None) -> None:
        """Remove a model, with a checkpoint or diverged. The last one ends the attempt."""
        if not isinstance(state, GroupState) or len(self._members) == 1:
            if why is not None:
                raise why
            self._control.request_stop()
            return
        # Afterwards another worker may have it: nothing of it may be written then.
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
        # A single model, as in a resume.
        (member,) = self._members
        left = Checkpoint(path=member.checkpoints, record=state.record(0), tensors=state.tensors(0))
        single = self._new_state()
        single.restore([left])
        return single
