"""What others ask of a trainer: pause, go on, stop; a stop wins."""

from __future__ import annotations

import threading
from itertools import product

import pytest

from forge_tui.protocol import job
from forge_tui.protocol.job import Control


def hold(control: Control) -> tuple[threading.Thread, list[bool], list[bool], threading.Event]:
    """A trainer before its next step: its thread, whether it goes on, what it told of being on hold, and when."""
    went, told, holds = [], [], threading.Event()

    def on_hold(paused: bool) -> None:
        told.append(paused)
        if paused:
            holds.set()

    control.on_hold = on_hold
    thread = threading.Thread(target=lambda: went.append(control.may_continue()))
    thread.start()
    return thread, went, told, holds


def test_a_trainer_that_is_asked_nothing_goes_on_and_gives_signs_of_life() -> None:
    control = Control()
    assert [control.may_continue() for _ in range(5)] == [True] * 5
    assert (control.beats, control.paused_seconds) == (5, 0.0)


def test_a_pause_holds_the_next_step_until_it_is_taken_back() -> None:
    control = Control()
    control.pause()
    thread, went, told, holds = hold(control)
    assert holds.wait(30.0)
    beats = control.beats
    assert (went, told) == ([], [True])
    control.unpause()
    thread.join(30.0)
    assert (went, told, control.beats) == ([True], [True, False], beats)
    assert control.paused_seconds > 0.0
    assert control.may_continue()


def test_a_stop_ends_a_pause_and_the_trainer_does_not_say_that_it_went_on() -> None:
    control = Control()
    control.pause()
    thread, went, told, holds = hold(control)
    assert holds.wait(30.0)
    control.request_stop()
    thread.join(30.0)
    assert (went, told) == ([False], [True])
    assert not control.may_continue()


@pytest.mark.parametrize(
    "asked", [asked for length in range(5) for asked in product("psu", repeat=length) if "s" in asked]
)
def test_a_stop_wins_in_whatever_order_things_were_asked(asked: tuple[str, ...]) -> None:
    control = Control()
    for one in asked:
        {"p": control.pause, "s": control.request_stop, "u": control.unpause}[one]()
    assert not control.may_continue()
    assert not control.may_continue()


def test_a_pause_taken_back_before_the_step_was_never_one() -> None:
    control = Control()
    control.pause()
    control.unpause()
    told: list[bool] = []
    control.on_hold = told.append
    assert control.may_continue()
    assert told == []


def test_a_pause_asked_for_while_the_trainer_says_that_it_goes_on_holds_the_next_step() -> None:
    control = Control()
    control.pause()
    told: list[bool] = []

    def on_hold(paused: bool) -> None:
        told.append(paused)
        if told == [True]:
            control.unpause()
        elif told == [True, False]:
            control.pause()
        elif told == [True, False, True]:
            control.request_stop()

    control.on_hold = on_hold
    assert control.may_continue()
    assert not control.may_continue()
    assert told == [True, False, True]


def test_waiting_gives_signs_of_life_and_ends_at_once_for_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_LOOK_SECONDS", 0.001)
    control = Control()
    assert control.wait(0.01)
    assert control.beats > 0
    control.request_stop()
    assert not control.wait(3600.0)
