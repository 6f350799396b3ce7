"""The scheduler with a search under anything in any order: answers come late, trials fail or are cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis.stateful import invariant, precondition, rule
from scheduler_machine import SchedulerMachine

from forge_tui.runner.search.sampler import Proposal, Question
from forge_tui.runs import run_models

SEARCH = {"method": "random", "trials": 3, "space": {"learning_rate": "0.001..1"}}


class LateSampler:
    """Answers when it is told to, or at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.at_once = False
        self.waiting: Callable[[], None] | None = None

    def ask(self, question: Question, answer: Callable[[Proposal], None]) -> None:
        assert self.waiting is None, "one question at a time"
        assert question.number not in self.asked, "a trial is asked for once"
        assert [trial.number for trial in question.trials] == sorted(self.asked)
        self.asked.append(question.number)

        def act() -> None:
            self.waiting = None
            answer(Proposal(question.number, {"training.learning_rate": question.number / 10}))

        self.waiting = act
        if self.at_once:
            act()

    def look(self) -> None:
        """It always answers in the end."""

    def hang_up(self) -> None:
        assert len(self.asked) == SEARCH["trials"], "every trial has its values"

    def close(self) -> None:
        """Nothing to free."""


class SearchMachine(SchedulerMachine):
    """Three trials of several seeds; whatever can happen without a search happens, too."""

    def more(self) -> dict[str, Any]:
        self.sampler = LateSampler()
        return {"search": SEARCH, "sampler": self.sampler}

    @precondition(lambda self: self.lives and self.sampler.waiting is not None)
    @rule()
    def the_sampler_answers(self) -> None:
        assert self.sampler.waiting is not None
        self.stage.turn(self.sampler.waiting)

    @invariant()
    def who_trains_has_the_values_of_its_trial(self) -> None:
        if not hasattr(self, "stage"):
            return
        for actor in self.stage.actors:
            for job in actor.worker.jobs:
                trial = run_models.trial_of(self.stage.settings, job.index)
                assert job.settings["training"]["learning_rate"] == trial / 10
                assert self.stage.journal.models[job.index].combination == {"learning_rate": trial / 10}

    def come_to_the_end(self) -> None:
        self.sampler.at_once = True
        if self.lives and self.sampler.waiting is not None:
            self.stage.turn(self.sampler.waiting)
        super().come_to_the_end()


TestSearch = SearchMachine.TestCase
TestSearch.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
