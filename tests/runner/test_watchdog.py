"""Workers that hang: asked first, ended then; paused ones and patient settings left alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forge_tui.runner.watchdog import HangVerdict, Watchdog

FINE, ASK, END = HangVerdict.FINE, HangVerdict.ASK, HangVerdict.END


def test_asked_once_after_the_patience_and_ended_two_seconds_later() -> None:
    dog = Watchdog(60.0, 100.0)
    looks = [dog.look(now, waits=False) for now in (159.9, 160.0, 161.9, 162.0, 163.0)]
    assert looks == [FINE, ASK, FINE, END, END]


def test_an_answer_ends_the_waiting_and_a_step_makes_all_well() -> None:
    dog = Watchdog(60.0, 0.0)
    assert dog.look(60.0, waits=False) is ASK
    dog.answered()
    assert dog.look(60.0, waits=False) is END
    dog.sign_of_life(61.0)
    assert [dog.look(now, waits=False) for now in (62.0, 120.9, 121.0)] == [FINE, FINE, ASK]


def test_an_answer_to_no_question_changes_nothing() -> None:
    dog = Watchdog(60.0, 0.0)
    dog.answered()
    assert [dog.look(now, waits=False) for now in (59.0, 60.0)] == [FINE, ASK]


def test_without_a_patience_nothing_hangs() -> None:
    assert Watchdog(None, 0.0).look(1e9, waits=False) is FINE


def test_the_time_of_a_pause_does_not_count() -> None:
    dog = Watchdog(60.0, 0.0)
    assert dog.look(59.0, waits=True) is FINE
    assert dog.look(10_000.0, waits=True) is FINE
    assert dog.look(10_059.0, waits=False) is FINE
    assert dog.look(10_060.0, waits=False) is ASK


@given(st.floats(0.1, 1e6), st.lists(st.floats(0.0, 1e6), min_size=1))
def test_whoever_gives_signs_in_time_is_never_asked(patience: float, gaps: list[float]) -> None:
    now, dog = 0.0, Watchdog(patience, 0.0)
    for gap in gaps:
        now += min(gap, 0.99 * patience)
        assert dog.look(now, waits=False) is FINE
        dog.sign_of_life(now)
