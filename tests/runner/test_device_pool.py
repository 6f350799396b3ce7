"""Which device a worker gets: never more than is free, others left alone, lost devices out, and reasons in words."""

from __future__ import annotations

from collections.abc import Sequence

from gpu_server import GpuServer, uuid_of
from hypothesis import given
from hypothesis import strategies as st

from forge_tui.resources.host_gpus import held_on
from forge_tui.resources.policy import GIB, DeviceShare
from forge_tui.runner.device_costs import DeviceCosts, Need
from forge_tui.runner.device_figures import DeviceLoad, Held, Placed, Waiting
from forge_tui.runner.device_pool import GROW_SECONDS, DevicePool

A, B = uuid_of(0), uuid_of(1)


def pool(
    server: GpuServer, *, per_model: int = 1, shared: bool = False, loads: Sequence[DeviceLoad] = ()
) -> DevicePool:
    made = DevicePool(server.uuids, per_model=per_model, reserve=0.05, shared=shared)
    assert made.see(server.figures(), loads, 0.0) == {}
    return made


def waiting(*gib: float | None, above: float = 0.0) -> list[Waiting]:
    return [
        Waiting(f"m{number}", Need(None if size is None else int(size * GIB)), int(above * GIB))
        for number, size in enumerate(gib, 1)
    ]


def load(gib: float | None, *devices: str, held: float = 0.0) -> DeviceLoad:
    there = dict.fromkeys(devices, int(held * GIB)) if held else {}
    return DeviceLoad(devices, Need(None if gib is None else int(gib * GIB)), there)


def test_the_device_with_the_fewest_workers_and_then_the_most_room_is_taken() -> None:
    server = GpuServer((24.0, 80.0))
    both = pool(server)
    assert both.choose(waiting(10), [], []) == Placed(
        0, (B,), "m1 on GPU 1 (GPU-00000001): 76.00 GiB are left, and it needs 10.00 GiB (estimated, with a margin)"
    )
    second = both.choose(waiting(10), [load(10, B)], [])
    assert isinstance(second, Placed)
    assert second.devices == (A,)
    third = both.choose(waiting(10), [load(10, B), load(10, A)], [])
    assert isinstance(third, Placed)
    assert third.devices == (B,)
    assert third.reason.startswith("m1 on GPU 1 (GPU-00000001), beside 1 worker: 66.00 GiB are left, ")


def test_of_two_gpus_one_of_which_is_full_the_other_is_taken_and_no_worker_is_started_once_both_are() -> None:
    server = GpuServer((80.0, 80.0), others={0: (79.0, 100.0)})
    found = pool(server).choose(waiting(10), [], [])
    assert isinstance(found, Placed)
    assert found.devices == (B,)
    server.others[1] = (75.0, 100.0)
    assert pool(server).choose(waiting(10), [], []) == Held(
        "no room for m1, which needs 10.00 GiB (estimated, with a margin). "
        "GPU 1 (GPU-00000001): 1.00 GiB are left, the most of 2"
    )


def test_devices_that_are_too_small_are_told_apart_from_full_ones() -> None:
    held = pool(GpuServer((24.0, 80.0, 24.0))).choose(waiting(60), [load(60, B)], [])
    assert held == Held(
        "no room for m1, which needs 60.00 GiB (estimated, with a margin). GPU 1 (GPU-00000001): 16.00 GiB are left; "
        "GPU 0 (GPU-00000000), GPU 2 (GPU-00000002): less than that in all without the 5 % to be kept free"
    )


def test_a_started_worker_counts_with_all_it_needs_until_it_is_seen_to_hold_it() -> None:
    # The fault of before: with little of 80 GiB free, all slots were filled before the first measurement.
    one = pool(GpuServer((80.0,)))
    assert isinstance(one.choose(waiting(30), [load(30, A)], []), Placed)
    assert isinstance(one.choose(waiting(30), [load(30, A), load(30, A)], []), Held)
    server = GpuServer((80.0,))
    server.put(1, (A,), 20.0)
    seen = [load(30, A, held=20.0)]
    # 60 GiB free, of which it will still take 10, and 4 stay free: 46 are left.
    assert isinstance(pool(server, loads=seen).choose(waiting(46), seen, []), Placed)
    assert isinstance(pool(server, loads=seen).choose(waiting(46.1), seen, []), Held)


def test_what_is_left_is_reserved_for_the_first_that_waits_and_later_ones_take_the_other_devices() -> None:
    server = GpuServer((80.0, 24.0))
    both = pool(server)
    running = [load(60, A)]
    found = both.choose(waiting(70, 20, 10), running, [])
    assert isinstance(found, Placed)
    assert (found.position, found.devices) == (1, (B,))
    # The small one would fit beside the one of 60 GiB, but the first of the queue would then wait for both.
    held = both.choose(waiting(70, 23, 10), running, [])
    assert isinstance(held, Placed)
    assert (held.position, held.devices) == (2, (B,))
    assert isinstance(both.choose(waiting(70, 10), [load(60, A), load(20, B)], []), Held)


def test_the_device_that_is_kept_for_the_first_is_one_that_workers_of_this_run_will_free() -> None:
    server = GpuServer((80.0, 80.0), others={0: (30.0, 0.0)})
    # Others have too much of the first one, though more is left there now: the second is kept for the first model.
    for shared, needs in ((False, 60), (True, 40)):
        held = pool(server, shared=shared).choose(waiting(needs, 10), [load(60, B)], [])
        placed = held.devices if isinstance(held, Placed) else None
        assert placed == (None if shared else (A,))


def test_without_an_estimate_a_worker_is_alone_on_its_device_until_one_is_measured() -> None:
    both = pool(GpuServer((80.0, 80.0)))
    first = both.choose(waiting(None), [], [])
    assert isinstance(first, Placed)
    assert first.reason.endswith("it is not measured yet how much it needs, so it is alone there")
    second = both.choose(waiting(None), [load(None, A)], [])
    assert isinstance(second, Placed)
    assert second.devices == (B,)
    third = both.choose(waiting(5), [load(None, A), load(None, B)], [])
    assert third == Held(
        "no room for m1, which needs 5.00 GiB (estimated, with a margin). GPU 0 (GPU-00000000), GPU 1 (GPU-00000001): "
        "it is not measured yet how much the worker on it needs"
    )


def test_without_an_estimate_a_full_device_is_not_taken_though_no_worker_is_on_it() -> None:
    server = GpuServer((80.0, 80.0), others={0: (79.5, 100.0), 1: (75.9, 100.0)})
    assert pool(server).choose(waiting(None), [], []) == Held(
        "no room for m1. GPU 1 (GPU-00000001): 0.10 GiB are left, the most of 2"
    )
    server.others[1] = (75.0, 100.0)
    found = pool(server).choose(waiting(None), [], [])
    assert isinstance(found, Placed)
    assert found.devices == (B,)


def test_policy_shared_takes_only_what_others_leave_idle_and_dedicated_what_is_free() -> None:
    busy = GpuServer((80.0, 80.0), others={0: (12.0, 0.0), 1: (0.5, 60.0)})
    held = pool(busy, shared=True).choose(waiting(5), [], [])
    assert isinstance(held, Held)
    assert "GPU 0 (GPU-00000000): others have 12.00 GiB of it (policy shared)" in held.reason
    assert "GPU 1 (GPU-00000001): others use it, 60 % (policy shared)" in held.reason
    free = pool(busy).choose(waiting(5), [], [])
    assert isinstance(free, Placed)
    assert free.devices == (B,)
    desktop = GpuServer((80.0,), others={0: (0.6, 5.0)})
    assert isinstance(pool(desktop, shared=True).choose(waiting(5), [], []), Placed)


def test_our_own_workers_are_not_others_while_they_run_nor_until_the_next_sample_after_their_end() -> None:
    server = GpuServer((80.0,))
    server.put(1, (A,), 10.0)
    ours = [load(12, A, held=10.0)]
    shared = pool(server, shared=True, loads=ours)
    assert isinstance(shared.choose(waiting(5), ours, []), Placed)
    # It has just ended: the figures still have its memory and its use, and they were ours.
    assert isinstance(shared.choose(waiting(5), [], []), Placed)
    server.put(1, (A,), 0)
    server.others[0] = (10.0, 95.0)
    shared.see(server.figures(), [], 2.0)
    assert isinstance(shared.choose(waiting(5), [], []), Held)


def test_memory_of_a_worker_that_the_driver_does_not_name_is_not_taken_for_others() -> None:
    server = GpuServer((80.0,), counts_processes=False)
    server.put(1, (A,), 9.0)
    unseen = [load(10, A)]
    assert isinstance(pool(server, shared=True, loads=unseen).choose(waiting(5), unseen, []), Placed)
    share = DeviceShare(A, workers=1, held=10 * GIB, growth=10 * GIB)
    assert isinstance(pool(server, shared=True).choose(waiting(5), [], [share]), Placed)
    server.put(2, (A,), 9.0)  # of which only a half can be this worker's
    held = pool(server, shared=True, loads=unseen).choose(waiting(5), unseen, [])
    assert isinstance(held, Held)
    assert "others have 8.00 GiB of it" in held.reason


def test_this_users_other_runs_are_not_others_but_what_they_hold_and_will_take_is_not_free() -> None:
    server = GpuServer((80.0,), others={0: (10.0, 90.0)})
    shared = pool(server, shared=True)
    assert isinstance(shared.choose(waiting(5), [], []), Held)
    share = DeviceShare(A, workers=1, held=10 * GIB, growth=20 * GIB)
    # 70 GiB free, 20 of them claimed, 4 stay free.
    found = shared.choose(waiting(46), [], [share])
    assert isinstance(found, Placed)
    assert ", beside 1 worker: 46.00 GiB are left" in found.reason
    assert isinstance(shared.choose(waiting(46.1), [], [share]), Held)


def test_mig_devices_are_devices_of_their_own() -> None:
    server = GpuServer((20.0, 20.0), parents={0: "GPU-p", 1: "GPU-p"}, others={0: (15.0, 0.0)})
    found = pool(server).choose(waiting(10), [], [])
    assert found == Placed(
        0,
        (server.uuid(1),),
        "m1 on MIG device 1 (MIG-00000001): 19.00 GiB are left, and it needs 10.00 GiB (estimated, with a margin)",
    )


def test_a_device_that_fails_or_disappears_is_taken_out_once_and_stays_out() -> None:
    server = GpuServer((80.0, 80.0, 80.0))
    all_three = pool(server)
    server.problems[0] = "uncorrectable memory errors"
    server.gone.add(1)
    lost = all_three.see(server.figures(), [], 2.0)
    assert lost == {
        A: "GPU 0 (GPU-00000000): uncorrectable memory errors; nothing is placed on it any more",
        B: "GPU 1 (GPU-00000001): the driver does not show it any more; nothing is placed on it any more",
    }
    assert all_three.see(server.figures(), [], 4.0) == {}
    server.problems.clear()
    server.gone.clear()
    assert all_three.see(server.figures(), [], 6.0) == {}
    found = all_three.choose(waiting(5), [load(5, uuid_of(2))], [])
    assert isinstance(found, Placed)
    assert found.devices == (uuid_of(2),)
    assert all_three.stranded is None
    all_three.lose(uuid_of(2), "has fallen off the bus")
    assert all_three.stranded is not None
    assert all_three.stranded.startswith(
        "no device of the run is left (GPU 0 (GPU-00000000): uncorrectable memory errors"
    )


def test_a_driver_that_does_not_answer_loses_no_device() -> None:
    one = pool(GpuServer((80.0,)))
    assert one.see((), [], 2.0) == {}
    assert isinstance(one.choose(waiting(5), [], []), Placed)


def test_a_device_that_only_torch_shows_has_one_worker_at_once_and_is_not_lost() -> None:
    both = DevicePool((A, B), per_model=1, reserve=0.05, shared=True)
    server = GpuServer((80.0, 80.0), gone={1})
    for gpus in ((), server.figures()):
        assert both.see(gpus, [], 0.0) == {}
    found = both.choose(waiting(5), [load(5, A)], [])
    assert found == Placed(0, (B,), f"m1 on {B}: nothing is known of its memory")
    full = both.choose(waiting(70), [load(70, A), load(5, B)], [])
    assert isinstance(full, Held)
    assert f"{B}: the driver tells nothing of its memory: one worker at once" in full.reason


def test_after_a_lack_of_memory_there_are_fewer_on_that_device_and_one_more_after_a_quiet_time() -> None:
    server = GpuServer((80.0, 80.0))
    both = pool(server)
    assert both.ran_out((A,), beside=2, now=0.0) == 2
    busy = [load(1, A), load(1, A), *[load(1, B)] * 3]
    found = both.choose(waiting(1), busy, [])
    assert isinstance(found, Placed)
    assert found.devices == (B,)  # although there are more workers on it
    both.see(server.figures(), busy, GROW_SECONDS)
    found = both.choose(waiting(1), busy, [])
    assert isinstance(found, Placed)
    assert found.devices == (A,)
    # That has failed at once: the next wait is longer.
    both.ran_out((A,), beside=2, now=GROW_SECONDS + 1)
    both.see(server.figures(), busy, 2 * GROW_SECONDS + 2)
    found = both.choose(waiting(1), busy, [])
    assert isinstance(found, Placed)
    assert found.devices == (B,)


def test_a_model_that_ran_out_alone_is_placed_on_devices_with_more_memory_only() -> None:
    server = GpuServer((24.0, 80.0))
    both = pool(server)
    assert both.has_larger(int(24 * GIB))
    assert not both.has_larger(int(80 * GIB))
    found = both.choose(waiting(10, above=24.0), [load(10, B), load(10, B)], [])
    assert isinstance(found, Placed)
    assert found.devices == (B,)


def test_one_that_seems_to_need_more_than_any_device_has_is_tried_alone_on_an_empty_largest_one() -> None:
    server = GpuServer((24.0, 80.0))
    both = pool(server)
    found = both.choose(waiting(100), [], [])
    assert isinstance(found, Placed)
    assert found.devices == (B,)
    assert found.reason.endswith(
        "it seems to need 100.00 GiB (estimated), more than any device has, and is tried alone"
    )
    assert isinstance(both.choose(waiting(100), [load(1, B)], []), Held)
    server.others[1] = (40.0, 0.0)
    assert isinstance(pool(server).choose(waiting(100), [], []), Held)  # others' memory may come free


def test_a_worker_on_several_devices_needs_room_on_each() -> None:
    server = GpuServer((80.0,) * 4, others={0: (79.0, 0.0)})
    four = pool(server, per_model=2)
    found = four.choose(waiting(30), [load(60, uuid_of(1))], [])
    assert isinstance(found, Placed)
    assert found.devices == (uuid_of(2), uuid_of(3))
    assert "76.00 GiB are left on each" in found.reason
    held = four.choose(waiting(30), [load(60, uuid_of(1)), load(60, uuid_of(2))], [])
    assert isinstance(held, Held)
    assert "on 2 devices" in held.reason
    for index in (1, 2, 3):
        four.lose(uuid_of(index), "lost")
    assert four.stranded is not None
    assert four.stranded.startswith("1 of the run's devices are left, and a model takes 2 (")


@given(
    totals=st.lists(st.floats(8.0, 80.0), min_size=1, max_size=4),
    needs=st.lists(st.floats(0.5, 90.0), max_size=20),
    others=st.lists(st.floats(0.0, 80.0), min_size=4, max_size=4),
)
def test_never_more_is_placed_than_is_free_except_one_alone(
    totals: list[float], needs: list[float], others: list[float]
) -> None:
    server = GpuServer(
        tuple(totals), others={index: (min(others[index], totals[index]), 0.0) for index in range(len(totals))}
    )
    made = pool(server)
    loads: list[DeviceLoad] = []
    for need in needs:
        found = made.choose(waiting(need), loads, [])
        if isinstance(found, Placed):
            loads.append(load(need, *found.devices))
    for gpu in server.figures():
        here = [one.need.memory or 0 for one in loads if gpu.uuid in one.devices]
        assert sum(here) <= 0.95 * gpu.memory_total - gpu.memory_used + 1 or len(here) <= 1


def test_the_memory_of_a_workers_processes_is_found_on_each_device() -> None:
    server = GpuServer((80.0, 80.0))
    server.put(5, (A, B), 2.0)
    server.put(6, (B,), 1.0)
    assert held_on(server.figures(), {5: 1, 6: 1}) == {1: {A: 2 * GIB, B: 3 * GIB}}
    assert held_on(server.figures(), {5: 1, 6: 2, 7: 3}) == {1: {A: 2 * GIB, B: 2 * GIB}, 2: {B: GIB}}
    server.counts_processes = False
    assert held_on(server.figures(), {5: 1}) == {}


def test_the_cost_of_a_kind_is_estimated_then_measured_and_unknown_ones_count_as_the_largest() -> None:
    costs = DeviceCosts({"a": GIB, "b": 2 * GIB}.get)
    assert costs.need("a") == Need(int(1.5 * GIB) + (600 << 20), "estimated")
    assert costs.need("c") == Need(None)
    costs.take("a", 3 * GIB)
    costs.take("a", 2 * GIB)
    assert costs.need("a") == Need(int(3.45 * GIB), "measured")
    assert costs.need("b").source == "estimated"
    assert costs.need("c") == Need(int(3.45 * GIB), "measured with others")
    costs.outgrew("a", 4 * GIB)
    assert (costs.above("a"), costs.above("b")) == (4 * GIB, 0)
    assert costs.need("a") == Need(int(4.6 * GIB), "measured")
