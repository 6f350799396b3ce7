"""Results of attempts at models, and the jobs of the next ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

from forge_tui.protocol import events as happened
from forge_tui.protocol.job import Job
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.rollback import Saved
from forge_tui.protocol.run_data import recorded_data
from forge_tui.runner.consequences import Consequence, OnDevice, consequence
from forge_tui.runner.divergence import goes_further, rolled_back
from forge_tui.runner.halving import rungs_of
from forge_tui.runner.work import Work
from forge_tui.runs import run_models
from forge_tui.runs.run_models import Configs


class Retries:
    """Counts failures, tracks valid checkpoints, and makes the jobs of new attempts."""

    def __init__(self, work: Work) -> None:
        self._settings, self._base_job, self._journal = work.settings, work.base_job, work.journal
        self._rungs = rungs_of(work.settings)
        models = work.journal.models
        self._configs = Configs(work.settings, work.base_job.settings, lambda index: models[index].combination)
        self._data = recorded_data(work.journal.info)
        self._failures: Counter[int] = Counter()
        """Failures of each model since its newest checkpoint."""
        self._losses: Counter[int] = Counter()
        """Nodes that each model was lost with since its newest checkpoint."""
        self._divergences: Counter[int] = Counter()
        """Divergences of each model since its last recovery."""
        self._saved: dict[int, Sequence[Saved]] = {}
        """The models' checkpoints when they diverged."""
        self._inherited: dict[int, int] = {}
        """The step up to which checkpoints of each model's earlier attempts are valid for the next one."""

    def likeness(self, index: int) -> Hashable:
        """A key that is equal for models of one group."""
        return self._configs.likeness(index)

    def kind(self, group: Sequence[int]) -> Hashable:
        """A key that is equal for workers that take the same memory."""
        return self._configs.shape(group[0]), len(group)

    def job(self, index: int) -> Job:
        """The next attempt at a model."""
        model = self._journal.models[index]
        return replace(
            self._base_job,
            model=model.name,
            index=index,
            attempt=model.attempt,
            seed=model.seed,
            settings=self._configs.of(index),
            rungs=self._rungs,
            learning_rate_factor=model.learning_rate_factor,
            rollbacks=model.rollbacks,
            rollback=model.rollback,
            epochs_recorded=model.epoch,
            data=self._configs.data(index, self._data),
            exact=not self._journal.info.changes_accepted,
            inherited_step=self._inherited.get(index, self._inherited_at_first(model)),
        )

    def _inherited_at_first(self, model: ModelState) -> int | None:
        """Of a search's model that has never begun no checkpoint counts: it was of a proposal that was not recorded."""
        return 0 if run_models.is_search(self._settings) and model.started is None else None

    # --- reports of attempts

    def started(self, event: happened.ModelStarted) -> None:
        """Record that an attempt begins, or continues from a checkpoint."""
        self._inherited[event.index] = event.step

    def saved(self, event: happened.CheckpointSaved) -> None:
        """Handle a new checkpoint before it is recorded: a newer one resets the failures."""
        self._inherited[event.index] = event.step
        if event.step > self._journal.models[event.index].checkpoint_step:
            self._failures[event.index] = self._losses[event.index] = 0

    def is_beyond_divergence(self, index: int) -> None:
        """Record that the model has recovered from its divergence."""
        self._divergences[index] = 0

    def diverged(self, index: int, saved: Sequence[Saved]) -> None:
        """Record a divergence with the checkpoints that the model may return to."""
        self._saved[index] = saved

    # --- consequences

    def follows(
        self,
        failure: happened.ModelFailed,
        *,
        beside: int,
        is_ending: bool,
        members: int = 1,
        is_hopeless: bool = False,
        on_device: OnDevice | None = None,
    ) -> Consequence:
        """The consequence of a failure of a model whose worker had `members`, `beside` other workers.

        `is_hopeless`: another attempt would fail in the same way; `on_device`: where a device's memory ran out.
        """
        if is_hopeless:
            return Consequence(retry=False)
        index, diverged = failure.index, failure.kind == "diverged"
        return consequence(
            failure,
            earlier=self._divergences[index] if diverged else self._failures[index],
            losses=self._losses[index],
            allowed=self._settings.run.max_retries,
            beside=beside,
            ending=is_ending,
            lowers_rate=self._lowers_rate,
            members=members,
            on_device=on_device,
            goes_further=diverged and goes_further(self._journal.models[index], self._saved.get(index)),
        )

    def failed(self, failure: happened.ModelFailed, follows: Consequence) -> bool:
        """Record a failed attempt with its consequence; returns whether to queue the model again."""
        index = failure.index
        counter = self._divergences if failure.kind == "diverged" else self._failures
        counter[index] += follows.counts
        self._losses[index] += failure.kind == "node_lost"
        self._journal.record(replace(failure, will_retry=follows.retry))
        if not follows.retry:
            self._journal.phase(index, TrainingPhase.FAILED, failure.message)
            return False
        self._journal.phase(index, TrainingPhase.QUEUED, f"attempt {failure.attempt} failed: {failure.message}")
        self._retried(index, failure.message, lower=follows.lower_rate)
        return True

    def start_over(self, index: int, reason: str) -> None:
        """Retry a failed or cancelled model on request, with its failures reset."""
        self._failures[index] = self._divergences[index] = self._losses[index] = 0
        model = self._journal.models[index]
        diverged = model.phase is TrainingPhase.FAILED and model.failures[-1].kind == "diverged"
        self._journal.phase(index, TrainingPhase.QUEUED, reason)
        self._retried(index, reason, lower=diverged and self._lowers_rate)

    def begin_again(self, index: int, reason: str) -> None:
        """Make another attempt at a model whose command was stopped: it has no checkpoint that we know of."""
        self._retried(index, reason, lower=False)

    @property
    def _lowers_rate(self) -> bool:
        return self._settings.training.on_divergence == "lower"

    def _retried(self, index: int, reason: str, *, lower: bool) -> None:
        """Record another attempt: from the newest checkpoint, or an earlier one with a lower learning rate."""
        model = self._journal.models[index]
        retried = happened.ModelRetried(
            time=self._journal.clock(),
            model=model.name,
            index=index,
            attempt=model.attempt + 1,
            from_epoch=model.checkpoint_epoch,
            reason=reason,
            learning_rate_factor=model.learning_rate_factor,
        )
        if lower:
            retried = rolled_back(retried, model, self._saved.get(index), self._settings.training.divergence_factor)
            self._inherited[index] = retried.to_step or 0
        self._journal.record(retried)
