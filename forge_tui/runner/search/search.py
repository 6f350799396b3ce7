"""The search of a run: asks for the next trial when a place is free, and records proposals and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forge_tui.protocol.events import ModelProposed, ModelValued
from forge_tui.protocol.metrics import AUTO, table_of
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.runner.journal import Journal
from forge_tui.runner.search.sampler import Proposal, Question, Sampler
from forge_tui.runner.search.trials import BestEpochs, Trial, key_of, trial_of
from forge_tui.runs import run_models
from forge_tui.settings.schema import Settings
from forge_tui.settings.space import full_names
from forge_tui.settings.sweep import short_names


class Search:
    """Gives models their values. All that it knows is in the run's records, so a resume proposes the same.

    `problem`: why it cannot propose a further trial, in words, or None.
    """

    def __init__(
        self, settings: Settings, journal: Journal, sampler: Sampler, earlier: Mapping[int, BestEpochs]
    ) -> None:
        """`earlier`: the epochs of started models before a resume, by index; of done ones their value is enough."""
        self._settings, self._journal, self._sampler = settings, journal, sampler
        self._epochs = dict(earlier)
        self._keys: dict[int, str] = {}
        """The key of each proposed trial by its number (`trials.key_of`)."""
        self._complete: dict[int, Trial] = {}
        """Trials that stay as they are: all their models are completed."""
        for number in range(1, settings.search.trials + 1):
            self._note(number)
        self._asked: int | None = None
        self._has_warned = False
        self.problem: str | None = None

    def is_proposed(self, group: Sequence[int]) -> bool:
        """Whether a group of models has values; all of a group are of one trial."""
        return bool(self._journal.models[group[0]].combination)

    def propose(self, group: Sequence[int]) -> bool:
        """Whether a group has values; asks for them unless it has. The answer may come later."""
        if self.is_proposed(group):
            return True
        if self._asked is None and self.problem is None:
            self._asked = run_models.trial_of(self._settings, group[0])
            self._sampler.ask(Question(self._asked, self.trials(), self._keys.values()), self._take)
        elif self._asked is not None:
            self._sampler.look()
        return self.is_proposed(group)

    def reported(self, index: int, epoch: int, measure: float | None) -> None:
        """Record an epoch of a model; `measure`: as `MetricTable.measure`."""
        if index not in self._epochs:
            self._epochs[index] = BestEpochs(replaces_alone=self._journal.info.has_custom_loop)
        self._epochs[index].take(epoch, measure)

    def ended(self, index: int, *, may_continue: bool = False) -> None:
        """Record the result of a model that is completed, or pruned (it `may_continue` if the user retries it)."""
        epochs = self._epochs.get(index) if may_continue else self._epochs.pop(index, None)
        best = None if epochs is None else epochs.best
        model = self._journal.models[index]
        if best is not None:
            epoch, measure = best
            self._journal.record(
                ModelValued(
                    time=self._journal.clock(),
                    model=model.name,
                    index=index,
                    attempt=model.attempt,
                    epoch=epoch,
                    value=measure * self._sign,
                )
            )
        elif not self._has_warned:
            self._has_warned = True
            wanted = self._settings.training.select_by
            what = "a validation_loss or a loss" if wanted == AUTO else f"{wanted} with a goal"
            self._journal.warn("search", f"{model.name} has no epoch with {what}: its trial counts as the worst")

    def trials(self) -> list[Trial]:
        """All trials that were proposed, with their results so far."""
        sign, found = self._sign, []
        for number in sorted(self._keys):
            found.append(self._complete.get(number) or self._trial(number, sign))
        return found

    def _trial(self, number: int, sign: float) -> Trial:
        models = self._journal.models
        members = [models[index] for index in run_models.models_of(self._settings, number)]
        measures = {model.index: self._measure(model.index, sign) for model in members}
        found = trial_of(number, full_names(self._settings, members[0].combination), members, measures)
        if all(model.phase is TrainingPhase.COMPLETED for model in members):
            self._complete[number] = found
        return found

    def _note(self, number: int) -> None:
        """Remember what a trial was given, if it was."""
        first = self._journal.models[run_models.models_of(self._settings, number)[0]]
        if first.combination:
            self._keys[number] = key_of(full_names(self._settings, first.combination))

    def _measure(self, index: int, sign: float) -> float | None:
        epochs, value = self._epochs.get(index), self._journal.models[index].value
        if epochs is not None and (best := epochs.best) is not None:
            return best[1]
        return None if value is None else value * sign

    @property
    def _sign(self) -> float:
        """Between a metric's own value and what is minimised (`MetricTable.measure`)."""
        training = self._settings.training
        if training.select_by == AUTO:
            return 1.0
        metric = table_of(training, self._journal.info.metrics)[training.select_by]
        return -1.0 if metric.goal == "higher" else 1.0

    def _take(self, proposal: Proposal) -> None:
        self._asked = None
        if proposal.values is None:
            self.problem = f"no further trial can be proposed ({proposal.problem}); logs/runner.log may have more"
            self._journal.warn("search", self.problem)
            return
        for index in run_models.models_of(self._settings, proposal.number):
            model = self._journal.models[index]
            self._journal.record(
                ModelProposed(
                    time=self._journal.clock(),
                    model=model.name,
                    index=index,
                    attempt=model.attempt,
                    trial=proposal.number,
                    combination=short_names(proposal.values),
                    reason=proposal.about,
                )
            )
        self._note(proposal.number)
        if len(self._keys) == self._settings.search.trials:
            self._sampler.hang_up()
