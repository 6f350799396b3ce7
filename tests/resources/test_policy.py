"""The arithmetic of both policies, and that every limit comes with its reason and the flag that lifts it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_tui.errors import ResourceError
from forge_tui.resources import advice, policy
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import DefaultThresholds, OtherRuns, capacity, threads_allowed, worker_limit
from forge_tui.settings.schema import ResourceSettings

SHARED, DEDICATED = DefaultThresholds(), DefaultThresholds(policy="dedicated")
GIB = 2**30


def test_defaults_are_those_of_the_settings():
    settings = ResourceSettings()
    for name in DefaultThresholds.__slots__:
        assert getattr(SHARED, name) == getattr(settings, name), name


@pytest.mark.parametrize(
    ("cpus", "memory_gb", "workers", "limited_by"),
    [
        (4, 8.0, 1, "memory"),
        (4, 7.6, 1, "memory"),
        (8, 16.0, 2, "memory"),
        (8, 15.5, 2, "memory"),
        (16, 32.0, 4, "memory"),
        (16, 31.2, 4, "memory"),
        (32, 64.0, 8, "memory"),
        (32, 62.7, 8, "memory"),
        (1, 4.0, 1, "memory"),
        (1, 64.0, 1, "cpu"),
        (2, 64.0, 1, "cpu"),
        (3, 64.0, 1, "cpu"),
        (4, 64.0, 2, "cpu"),
        (256, 1024.0, 100, "request"),
        (8, 15.2, 1, "memory"),  # 5 % is the firmware's share, no more
    ],
)
def test_shared_allows_half_of_the_cpus_and_8_gb_a_worker(resources, cpus, memory_gb, workers, limited_by):
    limit = worker_limit(100, resources(cpus, memory_gb), SHARED)
    assert (limit.workers, limit.limited_by) == (workers, limited_by)
    assert limit.workers * limit.threads_allowed <= max(1, cpus // 2)


def test_the_largest_machine_is_bound_by_cpu_or_memory_whichever_is_less(resources):
    assert worker_limit(1000, resources(256, 1024.0), SHARED).workers == 128
    limit = worker_limit(1000, resources(256, 512.0), SHARED)
    assert (limit.workers, limit.limited_by) == (67, "memory")


def test_the_suggestion_is_capped_but_a_request_is_not(resources):
    big = resources(64, 512.0)
    found = advice.suggestion(big, SHARED, advice.DevicesHere())
    assert (found.mode, found.workers) == ("parallel", 6)
    assert found.reason.startswith("at most 6 are suggested; 32 are possible (CPU limit")
    assert worker_limit(20, big, SHARED).workers == 20


def test_little_free_memory_gives_one_worker_and_a_warning(resources):
    limit = worker_limit(4, resources(16, 64.0, available_gb=7.9), SHARED)
    assert (limit.workers, limit.limited_by, limit.hint) == (1, "memory", "--policy dedicated")
    assert "7.9 GiB of memory is available" in limit.reason
    assert limit.warnings[0].startswith("Memory warning: only 7.9 GiB")
    assert worker_limit(4, resources(16, 64.0, available_gb=8.0), SHARED).workers == 4


def test_others_work_above_the_threshold_gives_one_worker_and_a_warning(resources):
    limit = worker_limit(4, resources(16, 64.0, busy=99.0, others_cpu_percent=80.1), SHARED)
    assert (limit.workers, limit.limited_by) == (1, "busy")
    assert "80 % busy with others' work" in limit.reason
    assert limit.warnings[0].startswith("CPU warning")


def test_our_own_work_does_not_make_the_machine_busy(resources):
    limit = worker_limit(4, resources(16, 64.0, busy=99.0, others_cpu_percent=80.0), SHARED)
    assert (limit.workers, limit.warnings) == (4, ())


def test_dedicated_uses_all_cpus_whatever_others_do(resources):
    limit = worker_limit(99, resources(16, 64.0, available_gb=2.0, busy=100.0), DEDICATED)
    assert (limit.workers, limit.limited_by, limit.warnings) == (16, "cpu", ())
    assert worker_limit(3, resources(16, 64.0), DEDICATED).threads_allowed == 5


def test_dedicated_admits_what_measured_memory_holds(resources):
    found = resources(16, 64.0, available_gb=10.0)
    limit = worker_limit(16, found, DEDICATED, worker_bytes=2 * GIB, running=1, growth_bytes=GIB)
    assert (limit.workers, limit.limited_by) == (1 + 3, "memory")  # (10 − 1) / (2 × 1.15) is 3.9
    assert "2.0 GiB (with a margin of 15 %), and 9.0 GiB is available beside the 1 running" in limit.reason


def test_other_runs_of_the_user_share_the_limit(resources):
    limit = worker_limit(4, resources(16, 64.0), SHARED, others=OtherRuns(6, 6))
    assert (limit.workers, limit.limited_by, limit.hint) == (2, "other_runs", "--after RUN")
    assert "your other runs have 6 workers on 6 CPUs, and all your runs together may use 8 CPUs" in limit.reason
    assert worker_limit(4, resources(16, 64.0), SHARED, others=OtherRuns(2, 4), threads=2).workers == 2
    assert worker_limit(8, resources(32, 32.0), SHARED, others=OtherRuns(3, 3)).workers == 1  # 32 GiB hold 4
    assert worker_limit(4, resources(16, 64.0), SHARED, others=OtherRuns(20, 20)).workers == 1


def test_failed_detection_gives_one_worker_under_either_policy(resources):
    for settings in (SHARED, DEDICATED):
        limit = worker_limit(4, resources(16, 64.0, failures=("psutil.cpu_count: OSError: no",)), settings)
        assert (limit.workers, limit.limited_by) == (1, "detection")
        assert "psutil.cpu_count: OSError: no" in limit.reason


def test_memory_warning_has_the_descriptions_words(resources):
    limit = worker_limit(4, resources(16, 16.0), SHARED)
    assert limit.reason == "2 instead of 4: 4 workers need 32GB, but only 16.0GB available"
    assert limit.warnings == ("Memory warning: 4 workers need 32GB, but only 16.0GB available; using 2",)


def test_a_limit_names_where_it_comes_from(resources):
    limit = worker_limit(4, resources(2, 64.0, cpu_limit_source="quota in /sys/fs/cgroup/job/cpu.max"), SHARED)
    assert limit.reason == (
        "1 instead of 4: CPU limit: at most half of the 2 CPUs this process may use "
        "(quota in /sys/fs/cgroup/job/cpu.max) (policy shared)"
    )
    assert limit.hint == "--policy dedicated"


def test_a_request_the_machine_can_exceed_is_its_own_limit(resources):
    limit = worker_limit(2, resources(16, 64.0), SHARED)
    assert (limit.workers, limit.limited_by, limit.hint) == (2, "request", "--workers 8")
    exact = worker_limit(8, resources(16, 64.0), SHARED)
    assert (exact.workers, exact.limited_by) == (8, "none")


def test_series_is_one_worker_with_all_threads(resources):
    limit = worker_limit(4, resources(16, 64.0), SHARED, mode="series")
    assert (limit.workers, limit.limited_by, limit.hint, limit.threads_allowed) == (1, "request", "--mode parallel", 8)


@pytest.mark.parametrize("requested", [0, -3])
def test_an_invalid_request_becomes_one_worker(resources, requested):
    limit = worker_limit(requested, resources(16, 64.0), SHARED)
    assert limit.workers == 1
    assert limit.reason.startswith(f"Invalid worker count {requested}")


def test_thresholds_are_settings(resources):
    found = resources(16, 64.0, available_gb=4.0, busy=70.0)
    settings = ResourceSettings(
        memory_per_worker_gb=1.0, max_cpu_utilization=0.75, high_cpu_threshold=75.0, min_available_memory_gb=2.0
    )
    assert worker_limit(99, found, settings).workers == 12
    assert worker_limit(99, found, ResourceSettings(min_available_memory_gb=2.0, high_cpu_threshold=60.0)).workers == 1
    measured = ResourceSettings(memory_per_worker_gb="measured", min_available_memory_gb=0.0)
    assert worker_limit(99, resources(16, 4.0), measured).workers == 8


def test_threads_leave_room_for_other_runs(resources):
    assert threads_allowed(2, resources(16), DEDICATED, other_threads=6) == 5
    assert threads_allowed(2, resources(16), DEDICATED, other_threads=99) == 1


def test_one_model_that_cannot_fit_is_refused_with_the_limit_named(resources):
    found = resources(4, 2.0, memory_limit_source="/sys/fs/cgroup/memory.max")
    with pytest.raises(ResourceError, match=r"needs about 3\.0 GiB, but 2\.0 GiB .*memory\.max.*--model-size"):
        policy.require_room_for_one(3 * GIB, found)
    policy.require_room_for_one(2 * GIB, found)


@given(
    requested=st.integers(-5, 600),
    cpus=st.integers(1, 512),
    memory_gb=st.floats(0.1, 4096.0),
    part=st.floats(0.0, 1.0),
    busy=st.floats(0.0, 100.0),
    other_workers=st.integers(0, 300),
    name=st.sampled_from(["shared", "dedicated"]),
)
def test_no_machine_breaks_the_rules(requested, cpus, memory_gb, part, busy, other_workers, name):
    found = SystemResources(cpus, memory_gb, memory_gb * part, busy, 1, 8.0)
    settings = DefaultThresholds(policy=name)
    limit = worker_limit(requested, found, settings, others=OtherRuns(other_workers, other_workers))
    assert 1 <= limit.workers <= max(1, requested)
    assert limit.workers <= capacity(found, settings).workers
    share = max(1, cpus // 2) if name == "shared" else cpus
    assert limit.workers * limit.threads_allowed <= share
    assert limit.reason
    if name == "shared":
        assert limit.workers <= max(1, 1.05 * memory_gb / 8)
        if memory_gb * part < 8 or busy > 80:
            assert limit.workers == 1
