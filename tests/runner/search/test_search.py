"""The search of a run on the stage: asked when a place is free, answered later, told what became of each trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stage import Actor, M, Stage

from forge_tui.protocol.phases import RunState
from forge_tui.runner.search.sampler import Proposal, Question, RandomSampler
from forge_tui.settings.schema import from_plain
from forge_tui.settings.space import dimensions

SEARCH = {"method": "random", "trials": 4, "space": {"learning_rate": "0.001..0.1:log", "batch_size": [8, 16]}}


class Asked:
    """A sampler that answers when the test says so; `rates`: what it proposes."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.looks = 0
        self.is_done = False
        self._answer: Callable[[Proposal], None] | None = None

    def ask(self, question: Question, answer: Callable[[Proposal], None]) -> None:
        assert self._answer is None, "one question at a time"
        self.questions.append(question)
        self._answer = answer

    def answers(self, problem: str = "") -> Callable[[], None]:
        """An action for the stage."""

        def act() -> None:
            answer, self._answer = self._answer, None
            assert answer is not None
            number = self.questions[-1].number
            values = {"training.learning_rate": number / 100, "training.batch_size": 8}
            answer(Proposal(number, None if problem else values, "for the test", problem))

        return act

    def look(self) -> None:
        self.looks += 1

    def hang_up(self) -> None:
        self.is_done = True

    def close(self) -> None:
        raise AssertionError("whoever made it closes it")


def stage(base: Path, sampler: Any, *, models: int = 1, requested: int = 1, **more: Any) -> Stage:
    search = {**SEARCH, **more.pop("search", {})}
    return Stage(base, models=models, requested=requested, sampler=sampler, search=search, **more)


def settings_of(actor: Actor) -> tuple[float, int]:
    training = actor.worker.jobs[0].settings["training"]
    return training["learning_rate"], training["batch_size"]


def told(question: Question) -> list[tuple[int, str, float | None]]:
    return [(trial.number, trial.state.value, trial.value) for trial in question.trials]


def finish(actor: Actor, *losses: float) -> list[Callable[[], None]]:
    """A model's whole life, with these losses."""
    found = actor.begins()
    for loss in losses:
        found += actor.trains(loss)
    return [*found, *actor.completes()]


def test_each_trial_is_asked_for_when_its_place_is_free_and_never_waited_for(tmp_path: Path) -> None:
    sampler = Asked()
    with stage(tmp_path, sampler) as run:
        assert [one.number for one in sampler.questions] == [1]
        assert run.actors == []
        for _ in range(3):
            run.turn()  # it goes round while it has no answer
        assert (len(sampler.questions), sampler.looks) == (1, 3)
        run.turn(sampler.answers())
        (actor,) = run.actors
        assert settings_of(actor) == (0.01, 8)
        assert run.journal.models[1].combination == {"learning_rate": 0.01, "batch_size": 8}
        assert run.journal.models[2].combination == {}
        run.turn()
        assert len(sampler.questions) == 1, "no place is free"
        run.turn(*finish(actor, 0.9, 0.4, 0.6))
        assert told(sampler.questions[1]) == [(1, "complete", 0.4)]
        assert run.journal.models[1].value == 0.4
        run.turn(sampler.answers())
        run.turn(*run.actors[0].begins(), *run.actors[0].fails("diverged"))
        assert told(sampler.questions[2])[1:] == [(2, "bad", None)]
        (proposed, *_) = run.events("model_proposed")
        (valued,) = run.events("model_valued")
    assert (proposed["trial"], proposed["combination"], proposed["reason"]) == (
        1, {"learning_rate": 0.01, "batch_size": 8}, "for the test",
    )  # fmt: skip
    assert (valued["model"], valued["value"], valued["epoch"]) == ("planner_1", 0.4, 2)


def test_what_runs_beside_is_told_as_running(tmp_path: Path) -> None:
    sampler = Asked()
    with stage(tmp_path, sampler, requested=2) as run:
        run.turn(sampler.answers())
        assert told(sampler.questions[1]) == [(1, "running", None)]
        run.turn(sampler.answers())
        assert len(run.actors) == 2
        run.turn(*finish(run.actor(2), 0.5))
        assert told(sampler.questions[2]) == [(1, "running", None), (2, "complete", 0.5)]
        assert [trial.values["training.learning_rate"] for trial in sampler.questions[2].trials] == [0.01, 0.02]


def test_seeds_of_a_trial_share_its_values_and_their_mean_is_its_value(tmp_path: Path) -> None:
    sampler = Asked()
    with stage(tmp_path, sampler, models=2, requested=1, search={"trials": 2}) as run:
        run.turn(sampler.answers())
        assert [model.combination for model in run.journal.models.values()][:2] == [
            {"learning_rate": 0.01, "batch_size": 8}
        ] * 2
        run.turn(*finish(run.actor(1), 0.2))
        assert len(sampler.questions) == 1, "the second seed is of the same trial"
        run.turn(*finish(run.actor(2), 0.6))
        assert told(sampler.questions[1]) == [(1, "complete", pytest.approx(0.4))]


def test_seeds_of_a_trial_train_together_and_trials_never(tmp_path: Path) -> None:
    sampler = Asked()
    with stage(tmp_path, sampler, models=2, search={"trials": 2}, engine={"fuse": 8}) as run:
        run.turn(sampler.answers())
        assert [actor.members for actor in run.actors] == [(1, 2)]


def test_a_pruned_trial_is_told_as_pruned_with_its_epoch(tmp_path: Path) -> None:
    sampler = Asked()
    with stage(tmp_path, sampler, run={"halving": 2}, search={"trials": 3}) as run:
        run.turn(sampler.answers())
        first = run.actor(1)
        run.turn(*first.begins(), *first.trains(0.1), first.says(rung=1, epoch=1, loss=0.1))
        run.turn(*first.completes())
        run.turn(sampler.answers())
        actor = run.actor(2)
        run.turn(*actor.begins(), *actor.trains(0.8), actor.says(rung=2, epoch=1, loss=0.8))
        assert actor.answers == [False]
        run.turn(*actor.stops())
        assert told(sampler.questions[2]) == [(1, "complete", 0.1), (2, "pruned", 0.8)]
        assert sampler.questions[2].trials[1].epoch == 1
        assert run.journal.models[2].value == 0.8
        run.turn(sampler.answers())
        run.turn(*finish(run.actor(3), 0.5))
        assert run.state is RunState.COMPLETED


def test_a_pruned_model_that_the_user_retries_keeps_its_best_epoch(tmp_path: Path) -> None:
    sampler = Asked()
    with stage(tmp_path, sampler, run={"halving": 2}, search={"trials": 3}) as run:
        run.turn(sampler.answers())
        first = run.actor(1)
        run.turn(*first.begins(), *first.trains(0.1), first.says(rung=1, epoch=1, loss=0.1))
        run.turn(*first.completes())
        run.turn(sampler.answers())
        actor = run.actor(2)
        run.turn(*actor.begins(), *actor.trains(0.2), actor.says(rung=2, epoch=1, loss=0.2))
        run.turn(*actor.stops())
        run.command("retry", model="planner_2")
        run.turn(sampler.answers())
        run.turn(*finish(run.actor(3), 0.5))
        again = run.actor(2)
        run.turn(*again.begins(), *again.trains(0.9), *again.completes())
        assert run.phase(2) is M.COMPLETED
        assert run.journal.models[2].value == 0.2


def test_a_sampler_that_cannot_answer_stops_the_run_when_what_trains_is_done(tmp_path: Path) -> None:
    sampler = Asked()
    with stage(tmp_path, sampler, requested=2) as run:
        run.turn(sampler.answers())
        run.turn(sampler.answers("ValueError: broken"))
        assert run.phase(1) is not M.COMPLETED
        run.turn(*finish(run.actor(1), 0.1))
        assert run.state is RunState.STOPPED
    assert "no further trial can be proposed (ValueError: broken)" in run.journal.info.reason
    assert run.phase(2) is M.QUEUED


def test_a_metric_that_is_better_higher_is_told_the_other_way_round(tmp_path: Path) -> None:
    """The sampler gets what is minimised; people see the metric's own value."""
    from forge_tui.protocol import events as happened

    sampler = Asked()
    with stage(tmp_path, sampler, training={"select_by": "validation_accuracy"}) as run:
        run.turn(sampler.answers())
        actor = run.actor(1)
        epochs = [
            actor.tells(
                happened.EpochFinished(
                    time=run.wall(), model="planner_1", index=1, attempt=1, epoch=epoch, epochs=10, step=20 * epoch,
                    metrics={"loss": 0.5, "validation_accuracy": accuracy}, best_loss=0.5,
                )
            )
            for epoch, accuracy in ((1, 0.7), (2, 0.9), (3, 0.8))
        ]  # fmt: skip
        run.turn(*actor.begins(), *epochs, *actor.completes())
        assert told(sampler.questions[1]) == [(1, "complete", -0.9)]
        assert run.journal.models[1].value == 0.9


def test_a_cancelled_trial_is_forgotten_and_one_that_is_tried_again_runs(tmp_path: Path) -> None:
    sampler = Asked()
    with stage(tmp_path, sampler, requested=1) as run:
        run.turn(sampler.answers())
        actor = run.actor(1)
        run.turn(*actor.begins())
        run.command("cancel", model="planner_1")
        run.turn()
        run.turn(*actor.stops())
        assert told(sampler.questions[1]) == [(1, "failed", None)]


def test_random_trials_are_those_of_the_sampler_alone(tmp_path: Path) -> None:
    space = dimensions(from_plain({"search": SEARCH}))
    with stage(tmp_path, RandomSampler(space, 3), requested=2) as run:
        run.play({})
        assert run.state is RunState.COMPLETED
    first = [model.combination for model in run.journal.models.values()]
    other = RandomSampler(space, 3)
    again: list[dict[str, Any]] = []
    for number in (3, 1, 4, 2):
        other.ask(Question(number, []), lambda proposal: again.append(dict(proposal.values or {})))
    assert [again[1], again[3], again[0], again[2]] == [
        {"training.learning_rate": one["learning_rate"], "training.batch_size": one["batch_size"]} for one in first
    ]


def test_the_events_alone_give_the_models(tmp_path: Path) -> None:
    from forge_tui.protocol.events import from_record
    from forge_tui.protocol.model_state import apply
    from forge_tui.runs.reader import RunReader

    sampler = Asked()
    with stage(tmp_path, sampler, search={"trials": 2}) as run:
        for number in (1, 2):
            assert not sampler.is_done
            run.turn(sampler.answers())
            run.turn(*finish(run.actor(number), 0.5, 0.25))
        assert sampler.is_done, "no further question comes"
        models = {model.index: model for model in run.first_models}
        for record in run.events():
            if "model" in record:
                models[record["index"]] = apply(models[record["index"]], from_record(record))
        with RunReader(run.directory.database) as reader:
            assert reader.models(0)[0] == list(models.values())
    assert [model.value for model in models.values()] == [0.25, 0.25]


def test_no_checkpoint_of_a_proposal_that_was_not_recorded_counts(tmp_path: Path) -> None:
    """Its runner has died in the moment after it: the model may have other values now."""
    sampler = Asked()
    with stage(tmp_path, sampler) as run:
        run.turn(sampler.answers())
        (job,) = run.actor(1).worker.jobs
        assert job.inherited_step == 0
        actor = run.actor(1)
        run.turn(*actor.begins(), *actor.trains(0.5), *actor.saves(), *actor.fails())
        assert run.actor(1).worker.jobs[0].inherited_step == 20, "its own count as ever"
