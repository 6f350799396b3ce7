"""Alive or not: by the lock, by the host, or by watching the heartbeat; clocks and sleep are handed in."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_tui.runs.liveness import STALE_SECONDS, WATCH_SECONDS, Liveness, Sign, wait_until_sure

START = 1_700_000_000.0
# Steps of an eighth of a second are exact in floating point, at any distance from START too.
EIGHTHS = st.integers(0, 160).map(lambda eighths: eighths / 8)
SKEWS = st.integers(-8 * 10**6, 8 * 10**6).map(lambda eighths: eighths / 8)


@dataclass
class World:
    """A runner on `host` and a viewer on `here`; seconds pass only by `sleep`.

    The runner beats once a second until `dies` (never: None); its clock is `skew` seconds ahead of the viewer's.
    """

    host: str = "there"
    here: str = "here"
    skew: float = 0.0
    dies: float | None = None
    locked: bool = False
    passed: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds

    def clock(self) -> float:
        return START + self.passed

    def monotonic(self) -> float:
        return 50.0 + self.passed

    def sign(self) -> Sign:
        beating = self.passed if self.dies is None else min(self.passed, self.dies)
        beats = int(beating // 1)
        written = START + self.skew + beats
        return Sign(locked=self.locked, host=self.host, here=self.here, heartbeat=100 + beats, written=written)

    def look(self, watch: Liveness) -> bool:
        sign = self.sign()
        return watch.is_live(
            locked=sign.locked, host=sign.host, here=sign.here, heartbeat=sign.heartbeat, written=sign.written,
            now=self.clock(), monotonic=self.monotonic(),
        )  # fmt: skip

    def wait(self) -> bool:
        return wait_until_sure(self.sign, clock=self.clock, monotonic=self.monotonic, sleep=self.sleep)


@pytest.mark.parametrize("host", ["here", "there", ""])
def test_a_lock_that_is_held_says_alive_at_once(host: str) -> None:
    world = World(host=host, locked=True, dies=0.0, skew=-1e6)
    assert (world.wait(), world.slept) == (True, [])


def test_a_free_lock_on_the_own_host_says_dead_at_once() -> None:
    world = World(host="here")
    assert (world.wait(), world.slept) == (False, [])
    assert not World(host="here").look(Liveness())


@pytest.mark.parametrize("host", ["there", ""])
def test_a_run_elsewhere_is_watched_until_it_is_sure(host: str) -> None:
    alive = World(host=host, here="here" if host else "", skew=-1e6)
    assert alive.wait()
    assert sum(alive.slept) == 1.0  # the first beat after the first look
    dead = World(host=host, here="here" if host else "", dies=0.0)
    assert not dead.wait()
    assert sum(dead.slept) == WATCH_SECONDS


@pytest.mark.parametrize(
    ("age", "live"),
    [(0.0, True), (STALE_SECONDS, True), (STALE_SECONDS + 1, False), (-1e6, True), (float("nan"), True)],
)
def test_at_first_sight_only_an_old_heartbeat_counts_as_dead(age: float, live: bool) -> None:
    assert World(skew=-age, dies=0.0).look(Liveness()) is live


def test_it_may_die_and_come_back_under_the_eyes_of_a_viewer() -> None:
    world, watch = World(dies=2.0), Liveness()
    seen = []
    for _ in range(9):
        seen.append(world.look(watch))
        world.sleep(1.0)
    # The counter moved for the last time at second 2: five seconds later it is dead.
    assert seen == [True] * 7 + [False] * 2
    world.dies = None  # resumed, over there
    assert world.look(watch)


def test_a_lock_let_go_elsewhere_is_watched_on() -> None:
    world, watch = World(dies=0.0, skew=-1e6, locked=True), Liveness()
    assert world.look(watch)
    world.locked = False
    world.sleep(4.0)
    assert world.look(watch)
    world.sleep(1.0)
    assert not world.look(watch)


@given(pauses=st.lists(EIGHTHS), skew=st.integers(-58, 10**6))
def test_a_runner_that_beats_is_never_called_dead(pauses: list[float], skew: int) -> None:
    world, watch = World(skew=float(skew)), Liveness()
    for pause in [*pauses, 0.0]:
        assert world.look(watch)
        world.sleep(pause)


@given(pauses=st.lists(EIGHTHS, min_size=1), skew=SKEWS, dies=EIGHTHS)
def test_a_runner_that_died_is_called_dead_five_seconds_after_it_was_last_seen_to_move(
    pauses: list[float], skew: float, dies: float
) -> None:
    world, watch = World(skew=skew, dies=dies), Liveness()
    counter, since, moved = None, 0.0, False
    for pause in [*pauses, WATCH_SECONDS]:
        if world.sign().heartbeat != counter:
            moved = counter is not None
            counter, since = world.sign().heartbeat, world.passed
        still = world.passed - since
        live = world.look(watch)
        if still >= WATCH_SECONDS:
            assert not live
        elif moved:
            assert live
        world.sleep(pause)
    world.sleep(dies + WATCH_SECONDS)
    world.look(watch)  # perhaps the last beat is seen only here
    world.sleep(WATCH_SECONDS)
    assert not world.look(watch)
    assert watch.is_sure


@given(skew=SKEWS, dies=st.one_of(st.none(), EIGHTHS), host=st.sampled_from(["there", ""]), before=EIGHTHS)
def test_one_who_waits_is_answered_within_five_seconds_whatever_the_clocks_say(
    skew: float, dies: float | None, host: str, before: float
) -> None:
    world = World(host=host, skew=skew, dies=dies, passed=before)
    first = world.sign().heartbeat
    live = world.wait()
    assert live is (world.sign().heartbeat != first)
    if dies is None:
        assert live
    elif dies <= before:
        assert not live
    assert sum(world.slept) <= WATCH_SECONDS
