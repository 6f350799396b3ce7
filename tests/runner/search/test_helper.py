"""The process of the sampler: asked over a socket without waiting, and started again when it ends."""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from running import wait_until

from forge_tui.runner.search import helper as helper_module
from forge_tui.runner.search.draws import STARTUP_TRIALS, drawn
from forge_tui.runner.search.helper import ANSWER_SECONDS, MOST_STARTS, TpeSampler
from forge_tui.runner.search.sampler import Proposal, Question
from forge_tui.runner.search.trials import Trial, TrialState
from forge_tui.settings.schema import from_plain, to_plain
from forge_tui.settings.space import dimensions

SETTINGS = from_plain(
    {"search": {"method": "tpe", "space": {"learning_rate": "1e-4..1e-1:log", "batch_size": "8..64"}}}
)
SPACE = dimensions(SETTINGS)


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as one:
        yield one


@pytest.fixture
def sampler(selector: selectors.BaseSelector) -> Iterator[TpeSampler]:
    one = TpeSampler(SPACE, to_plain(SETTINGS)["search"]["space"], 5, selector)
    yield one
    one.close()


def trials(count: int) -> list[Trial]:
    values = (drawn(SPACE, 5, number) for number in range(1, count + 1))
    return [
        Trial(number=number, values=one, state=TrialState.COMPLETE, value=one["training.learning_rate"])
        for number, one in enumerate(values, 1)
    ]


def turn(selector: selectors.BaseSelector) -> None:
    for key, _ in selector.select(0.05):
        key.data()


def ask(sampler: TpeSampler, selector: selectors.BaseSelector, number: int) -> Proposal:
    got: list[Proposal] = []
    sampler.ask(Question(number, trials(number - 1)), got.append)
    wait_until(lambda: got or turn(selector), "it answers")
    return got[0]


def pid_of(sampler: TpeSampler) -> int:
    process: Any = sampler._process
    return int(process.pid)


def test_the_first_trials_need_no_process(sampler: TpeSampler) -> None:
    got: list[Proposal] = []
    for number in range(1, STARTUP_TRIALS):
        sampler.ask(Question(number, trials(number - 1)), got.append)
    assert [one.values for one in got] == [trial.values for trial in trials(STARTUP_TRIALS - 1)]
    assert sampler._process is None
    sampler.ask(Question(STARTUP_TRIALS, trials(STARTUP_TRIALS - 1)), got.append)
    assert got[-1].about == "at random"
    assert sampler._process is not None, "it is started in time for the next one"


def test_a_broken_process_is_started_again_and_given_up_in_the_end(
    sampler: TpeSampler, selector: selectors.BaseSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper_module, "_MODULE", "forge_tui.errors")  # ends without a word
    started: list[int] = []
    begin = sampler._start
    monkeypatch.setattr(sampler, "_start", lambda: (started.append(1), begin())[1])
    answer = ask(sampler, selector, STARTUP_TRIALS + 1)
    assert answer.values is None
    assert answer.problem == f"its process has ended {MOST_STARTS} times, with 0"
    assert len(started) == MOST_STARTS


class TestWithOptuna:
    """The real process."""

    @pytest.fixture(autouse=True)
    def optuna(self) -> None:
        pytest.importorskip("optuna", reason="needs Optuna (extra `search`)")

    def test_it_answers_as_tpe_does(self, sampler: TpeSampler, selector: selectors.BaseSelector) -> None:
        from forge_tui.runner.search.tpe import proposed

        for number in (STARTUP_TRIALS + 1, STARTUP_TRIALS + 30):
            found = ask(sampler, selector, number)
            assert (found.values, found.about) == proposed(SPACE, 5, number, trials(number - 1))
        assert not {"optuna", "sqlalchemy"} & set(helper_module.__dict__)

    def test_a_killed_process_changes_no_proposal(self, sampler: TpeSampler, selector: selectors.BaseSelector) -> None:
        number = STARTUP_TRIALS + 5
        expected = ask(sampler, selector, number)
        got: list[Proposal] = []
        os.kill(pid_of(sampler), signal.SIGKILL)
        sampler.ask(Question(number, trials(number - 1)), got.append)
        wait_until(lambda: got or turn(selector), "it answers again")
        assert got == [expected]

    def test_a_process_that_hangs_is_started_again(self, selector: selectors.BaseSelector, sampler: TpeSampler) -> None:
        number, got, now = STARTUP_TRIALS + 5, list[Proposal](), [0.0]
        expected = ask(sampler, selector, number)
        sampler._monotonic = lambda: now[0]
        os.kill(pid_of(sampler), signal.SIGSTOP)
        hanging = pid_of(sampler)
        sampler.ask(Question(number, trials(number - 1)), got.append)
        now[0] = ANSWER_SECONDS
        sampler.look()
        assert pid_of(sampler) == hanging
        now[0] += 1
        sampler.look()
        wait_until(lambda: got or turn(selector), "it answers again")
        assert got == [expected]
        assert pid_of(sampler) != hanging

    def test_it_ends_when_no_further_question_comes_and_begins_again_with_one(
        self, selector: selectors.BaseSelector, sampler: TpeSampler
    ) -> None:
        expected = ask(sampler, selector, STARTUP_TRIALS + 1)
        process: Any = sampler._process
        sampler.hang_up()
        assert process.wait(30) == 0
        assert ask(sampler, selector, STARTUP_TRIALS + 1) == expected

    def test_it_survives_the_signals_of_a_batch_system_and_ends_with_the_runner(
        self, sampler: TpeSampler, selector: selectors.BaseSelector
    ) -> None:
        ask(sampler, selector, STARTUP_TRIALS + 1)
        process: Any = sampler._process
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            process.send_signal(number)
        assert ask(sampler, selector, STARTUP_TRIALS + 2).values is not None
        assert pid_of(sampler) == process.pid
        sampler.close()
        assert process.returncode == 0

    def test_what_raises_is_an_answer(self, sampler: TpeSampler, selector: selectors.BaseSelector) -> None:
        got: list[Proposal] = []
        strange = [Trial(number=1, values={}, state=TrialState.COMPLETE, value=1.0)] * STARTUP_TRIALS
        sampler.ask(Question(STARTUP_TRIALS + 1, strange), got.append)
        wait_until(lambda: got or turn(selector), "it answers")
        assert got[0].values is None
        assert got[0].problem.startswith("KeyError")
