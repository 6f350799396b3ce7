"""The governor: never below one, nothing taken back without need, no to and fro, and reasons in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from stage import machine_state

from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import GIB, OtherRuns, worker_limit
from forge_tui.resources.pressure import Pressure
from forge_tui.runner.governor import GROW_SECONDS, SETTLE_SECONDS, Governor, Load, Verdict
from forge_tui.settings.schema import ResourceSettings

LOOK_SECONDS = 2.0
ALONE = OtherRuns()
STATES = st.builds(
    lambda available, others, cpus, percent, failed: machine_state(
        available,
        others,
        cpu_count=cpus,
        pressure=(Pressure("memory", percent, None, "/proc/pressure/memory"),),
        failures=("memory: cannot be read",) if failed else (),
    ),
    st.floats(0.0, 64.0),
    st.floats(0.0, 100.0),
    st.integers(1, 32),
    st.sampled_from([0.0, 5.0, 30.0]),
    st.sampled_from([False, False, False, True]),
)
SETTINGS = st.builds(
    lambda policy, size: ResourceSettings(policy=policy, memory_per_worker_gb=size),
    st.sampled_from(["shared", "dedicated"]),
    st.sampled_from([0.5, 8.0, "measured"]),
)
OTHERS = st.builds(lambda workers, threads: OtherRuns(workers, workers * threads), st.integers(0, 9), st.integers(1, 4))


def governor(
    rules: ResourceSettings | None = None,
    requested: int = 4,
    resources: SystemResources | None = None,
    estimate: float = 0.1,
) -> Governor:
    rules = rules or ResourceSettings(policy="dedicated")
    limit = worker_limit(requested, resources or machine_state(), rules)
    return Governor(rules, limit, mode="parallel", cpus=1, estimate=int(estimate * GIB))


@dataclass
class World:
    """A machine on which workers start when they may and leave when they are taken back.

    `memory`: what each takes, in GiB; `tells_after`: seconds until it says so.
    """

    governor: Governor
    resources: Callable[[int], SystemResources]
    memory: float = 1.0
    tells_after: float = 5.0
    queue: int = 100
    others: OtherRuns = ALONE
    now: float = 0.0
    started: list[float] = field(default_factory=list)
    verdicts: list[tuple[float, Verdict]] = field(default_factory=list)

    def live(self, seconds: float) -> None:
        """Let `seconds` go by."""
        end = self.now + seconds
        while self.now < end:
            self.look()
            while len(self.started) < min(self.governor.slots, self.queue):
                if self.started and self.governor.hold(self.resources(len(self.started)), self.load()) is not None:
                    break
                self.started.append(self.now)
            self.now += LOOK_SECONDS

    def look(self) -> Verdict:
        load = self.load()
        for worker in load:
            if worker.memory is not None:
                self.governor.measured(worker.memory)
        verdict = self.governor.look(self.resources(len(load)), load, self.others, self.now)
        self.verdicts.append((self.now, verdict))
        if verdict.requeue is not None:
            assert len(self.started) > 1, "the last worker was taken back"
            self.started.pop()
        assert self.governor.slots >= 1
        return verdict

    def load(self) -> list[Load]:
        told = [self.now - begun >= self.tells_after for begun in self.started]
        return [Load(index, int(self.memory * GIB) if said else None) for index, said in enumerate(told)]

    @property
    def changes(self) -> int:
        """How often something changed."""
        return sum(1 for _, one in self.verdicts if one.limit or one.grown or one.requeue)


@given(SETTINGS, st.integers(1, 12), st.lists(st.tuples(STATES, OTHERS, st.integers(0, 6)), min_size=1, max_size=40))
def test_whatever_the_machine_does_one_worker_stays_and_every_word_is_said(
    rules: ResourceSettings, requested: int, looks: list[tuple[SystemResources, OtherRuns, int]]
) -> None:
    one = governor(rules, requested, looks[0][0])
    for step, (resources, others, working) in enumerate(looks):
        load = [Load(index, GIB if index % 2 else None) for index in range(working)]
        verdict = one.look(resources, load, others, LOOK_SECONDS * step)
        assert 1 <= one.slots <= requested
        assert verdict.limit is None or (verdict.limit.reason and 1 <= verdict.limit.workers <= requested)
        assert verdict.requeue is None or (verdict.requeue and working > 1)
        assert verdict.warning is None or (verdict.warning and working <= 1)
        assert verdict.grown != ""
        if working == 0:
            assert one.hold(resources, load) is None
        elif working < one.slots:
            assert one.hold(resources, load) != ""


@settings(max_examples=30, deadline=None)
@given(SETTINGS, st.integers(1, 8), STATES, OTHERS, st.floats(0.01, 20.0))
def test_a_machine_that_stays_as_it_is_changes_nothing_after_the_beginning(
    rules: ResourceSettings, requested: int, state: SystemResources, others: OtherRuns, memory: float
) -> None:
    world = World(governor(rules, requested, state), lambda _: state, memory=memory, others=others)
    world.live(3600.0)
    assert world.changes <= 2 + requested  # to the right number, one by one, and no way back
    late = [verdict for when, verdict in world.verdicts if when > 120.0]
    assert not any(one.limit or one.grown or one.requeue for one in late)
    assert sum(one.warning is not None for _, one in world.verdicts) <= 1


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 30.0), st.floats(0.0, 60.0), st.sampled_from(["shared", "dedicated"]))
def test_workers_whose_own_memory_is_the_pressure_are_not_tried_again_and_again(
    memory: float, tells_after: float, policy: str
) -> None:
    def resources(working: int) -> SystemResources:
        return machine_state(available=max(0.0, 60.0 - memory * working))

    rules = ResourceSettings(policy=policy)
    world = World(governor(rules, 4, resources(0)), resources, memory=memory, tells_after=tells_after)
    world.live(3600.0)
    # Down from four at the beginning; then waits of 10, 20, … up to 900 s, and those for the rest of the hour.
    at_first, doublings, longest = 3, 7, 3
    assert sum(one.requeue is not None for _, one in world.verdicts) <= at_first + doublings + longest, world.verdicts


def test_under_the_shared_policy_workers_that_have_not_told_their_cost_are_not_somebody_elses_memory() -> None:
    def resources(working: int) -> SystemResources:
        return machine_state(available=10.0 - 2.0 * working, memory_gb=16.0)

    rules = ResourceSettings(policy="shared")
    world = World(governor(rules, 2, resources(0), estimate=2.0), resources, memory=2.0, tells_after=300.0)
    world.live(600.0)
    assert len(world.started) == 2
    assert world.changes == 0


def test_a_busy_machine_leaves_one_worker_under_policy_shared_and_all_of_them_come_back() -> None:
    states = {"now": machine_state(others=95.0)}
    world = World(governor(ResourceSettings(policy="shared"), 4), lambda _: states["now"])
    states["now"] = machine_state()
    world.live(10.0)
    assert len(world.started) == 4
    states["now"] = machine_state(others=95.0)
    world.live(SETTLE_SECONDS + LOOK_SECONDS)
    assert world.governor.slots == 1
    assert world.governor.limit.limited_by == "busy"
    world.live(4 * LOOK_SECONDS)
    assert len(world.started) == 1
    states["now"] = machine_state()
    world.live(SETTLE_SECONDS + 2 * LOOK_SECONDS)
    assert len(world.started) == 4


def test_a_burst_of_others_work_changes_nothing() -> None:
    states = {"now": machine_state()}
    world = World(governor(ResourceSettings(policy="shared"), 4), lambda _: states["now"])
    for _ in range(50):
        states["now"] = machine_state(others=99.0)
        world.live(SETTLE_SECONDS - LOOK_SECONDS)
        states["now"] = machine_state()
        world.live(LOOK_SECONDS)
    assert world.changes == 0
    assert len(world.started) == 4


def test_policy_dedicated_does_not_mind_others_work() -> None:
    world = World(governor(), lambda _: machine_state(others=99.0))
    world.live(600.0)
    assert (len(world.started), world.changes) == (4, 0)


def test_pressure_takes_back_only_after_it_has_lasted_and_growth_comes_only_after_quiet() -> None:
    states = {"now": machine_state()}
    world = World(governor(), lambda _: states["now"])
    world.live(10.0)
    states["now"] = machine_state(available=1.0)
    world.live(4.0)
    assert world.changes == 0
    world.live(4.0)
    assert [one.requeue for _, one in world.verdicts if one.requeue] == [
        "1.00 GiB of memory are left, less than the 3.20 GiB to be kept free ([resources] memory_reserve)"
    ]
    quiet_since = world.now
    states["now"] = machine_state()
    world.live(120.0)
    grown = [(when, one.grown) for when, one in world.verdicts if one.grown]
    assert len(grown) == 1
    assert grown[0][0] >= quiet_since + GROW_SECONDS - LOOK_SECONDS
    assert grown[0][1] == f"up to 4 at once: memory has been free for {GROW_SECONDS:.0f} s"
    assert len(world.started) == 4


def test_a_growth_that_did_not_hold_is_tried_again_after_twice_the_time() -> None:
    one = governor()
    load = [Load(index, GIB) for index in range(4)]
    waits, now = [], 0.0
    for _ in range(8):
        assert one.ran_out(3, now) == 3
        begun = now
        while (verdict := one.look(machine_state(), load[:3], ALONE, now)).grown is None:
            assert verdict == Verdict()
            now += LOOK_SECONDS
        waits.append(now - begun)
        now += LOOK_SECONDS
    assert waits == [30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]
    now += 900.0
    one.ran_out(3, now)  # that one had held
    assert one.look(machine_state(), load[:3], ALONE, now + 30.0).grown is not None


@given(st.integers(2, 8), st.integers(0, 8))
def test_running_out_of_memory_leaves_fewer_at_once_but_one(slots: int, beside: int) -> None:
    one = governor(requested=slots)
    before = one.slots
    left = one.ran_out(beside, 0.0)
    assert left == one.slots == max(1, min(before - 1, beside))


@given(SETTINGS, st.integers(1, 20), st.integers(1, 20), STATES, OTHERS)
def test_another_number_counts_at_once_and_forgets_earlier_ceilings(
    rules: ResourceSettings, first: int, second: int, state: SystemResources, others: OtherRuns
) -> None:
    one = governor(rules, first, state)
    one.ran_out(0, 0.0)
    limit = one.request(second, state, [], others)
    assert (limit.requested, one.requested, one.slots) == (second, second, limit.workers)
    assert 1 <= limit.workers <= second


@given(st.integers(1, 8), st.integers(0, 12))
def test_what_other_runs_have_taken_is_honoured_at_once(requested: int, taken: int) -> None:
    state = machine_state()
    one = governor(requested=requested)
    one.look(state, [], OtherRuns(taken, taken), 0.0)
    assert one.slots == max(1, min(requested, 8 - taken))
    one.look(state, [], ALONE, LOOK_SECONDS)
    one.look(state, [], ALONE, LOOK_SECONDS + SETTLE_SECONDS)
    assert one.slots == requested


def test_room_is_measured_with_what_running_workers_will_still_take() -> None:
    one = governor(requested=8, estimate=10.0)
    state = machine_state(available=40.0)
    # 40 GiB less the reserve of 3.2; one that has not told yet may still take 15 (its estimate with a margin).
    assert one.hold(state, [Load(1)]) is None
    told = one.hold(state, [Load(1), Load(2)])
    needs = "a further worker needs 15.00 GiB (estimated, with a margin)"
    assert told == f"2 at once: {needs}, and 6.80 GiB of memory are left for it"
    one.measured(2 * GIB)
    assert one.hold(state, [Load(1, 2 * GIB), Load(2, 2 * GIB)]) is None
    assert one.hold(state, []) is None


def test_memory_that_running_workers_are_about_to_take_again_is_not_room() -> None:
    """Between two steps they hold little: what is available then is theirs in the next moment."""
    one = governor(requested=8)
    one.measured(10 * GIB)
    # Of 34 GiB less the reserve of 3.2 two workers at their low point take 2 × 10.5 again (10 and a margin, less 1).
    told = one.hold(machine_state(available=34.0), [Load(1, 10 * GIB, held=GIB), Load(2, 10 * GIB, held=GIB)])
    assert told is not None
    assert told.endswith("and 9.80 GiB of memory are left for it")
    at_their_peak = [Load(1, 10 * GIB, held=10 * GIB), Load(2, 10 * GIB, held=10 * GIB)]
    assert one.hold(machine_state(available=34.0), at_their_peak) is None


def test_where_nothing_is_known_a_second_worker_waits_for_the_first_measurement() -> None:
    for rules, words in (
        (ResourceSettings(policy="dedicated"), "1 at once until it is measured how much of memory a worker needs"),
        (ResourceSettings(policy="shared"), None),
    ):
        limit = worker_limit(4, machine_state(), rules)
        found = Governor(rules, limit, mode="parallel", cpus=1, estimate=None)
        assert found.hold(machine_state(), []) is None
        assert found.hold(machine_state(), [Load(1, None)]) == words
        found.measured(GIB)
        assert found.hold(machine_state(), [Load(1, GIB)]) is None
