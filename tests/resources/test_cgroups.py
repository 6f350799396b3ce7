"""Control group limits: v1, v2, both at once, containers, every ancestor; and one real group."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forge_tui.resources.cgroups import find_groups, parse_cpu_list, read_limits
from forge_tui.resources.hardware import detect
from forge_tui.resources.system_probe import SystemProbe

GIB = 2**30
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
UNLIMITED = "9223372036854771712\n"


def v2(path: str, **files: str) -> dict[str, str]:
    """A v2 machine; file names with `__` for the group they are in: `a__b__memory.max` is /a/b/memory.max."""
    tree = {"/proc/self/cgroup": f"0::{path}\n", "/proc/self/mountinfo": V2_MOUNT}
    return tree | {f"/sys/fs/cgroup/{name.replace('__', '/')}": text for name, text in files.items()}


def v1(memory: str = "/", cpu: str = "/", cpuset: str = "/", **files: str) -> dict[str, str]:
    groups = f"9:name=systemd:/x\n4:memory:{memory}\n3:cpuset:{cpuset}\n1:cpu,cpuacct:{cpu}\n0::/\n"
    tree = {"/proc/self/cgroup": groups, "/proc/self/mountinfo": V1_MOUNTS}
    return tree | {f"/sys/fs/cgroup/{name.replace('__', '/')}": text for name, text in files.items()}


def test_v2_memory_limit_of_an_ancestor_holds(machine):
    files = v2("/a/b", **{"a__memory.max": str(4 * GIB), "a__b__memory.max": "max\n", "a__memory.current": "0"})
    found = detect(machine(memory_gb=64.0, files=files))
    assert (found.memory_gb, found.memory_limit_source) == (4.0, "/sys/fs/cgroup/a/memory.max")


def test_v2_the_tightest_of_all_ancestors_holds(machine):
    files = v2("/a/b", **{"a__memory.max": str(4 * GIB), "a__b__memory.max": str(2 * GIB)})
    assert detect(machine(memory_gb=64.0, files=files)).memory_gb == 2.0


def test_v2_memory_high_is_a_limit(machine):
    found = detect(machine(memory_gb=64.0, files=v2("/a", **{"a__memory.high": str(3 * GIB)})))
    assert (found.memory_gb, found.memory_limit_source) == (3.0, "/sys/fs/cgroup/a/memory.high")


def test_reclaimable_cache_counts_as_available(machine):
    files = v2(
        "/a",
        **{
            "a__memory.max": str(10 * GIB),
            "a__memory.current": str(9 * GIB),
            "a__memory.stat": f"anon {GIB}\ninactive_file {4 * GIB}\nactive_file {GIB}\nslab_reclaimable {GIB}\n",
        },
    )
    assert detect(machine(memory_gb=64.0, files=files)).available_memory_gb == 7.0


def test_available_memory_is_the_least_headroom_of_any_ancestor(machine):
    files = v2(
        "/a/b",
        **{
            "a__memory.max": str(20 * GIB),
            "a__memory.current": str(19 * GIB),  # used up by siblings
            "a__b__memory.max": str(8 * GIB),
            "a__b__memory.current": str(GIB),
        },
    )
    found = detect(machine(memory_gb=64.0, files=files))
    assert (found.memory_gb, found.available_memory_gb) == (8.0, 1.0)


@pytest.mark.parametrize(
    ("quota", "cpus"), [("400000 100000", 4), ("350000 100000", 3), ("50000 100000", 1), ("max 100000", 16)]
)
def test_v2_quota_counts_whole_cpus(machine, quota, cpus):
    found = detect(machine(cpus=16, files=v2("/a/b", **{"a__cpu.max": quota})))
    assert found.cpu_count == cpus
    assert found.cpu_limit_source == (None if cpus == 16 else "quota in /sys/fs/cgroup/a/cpu.max")


def test_cpuset_limits_cpus_unless_it_holds_all(machine):
    found = detect(machine(cpus=16, files=v2("/a", **{"a__cpuset.cpus.effective": "0-2,8\n"})))
    assert (found.cpu_count, found.cpu_limit_source) == (4, "cpuset in /sys/fs/cgroup/a/cpuset.cpus.effective")
    found = detect(machine(cpus=16, files=v1(**{"cpuset__cpuset.effective_cpus": "0-15\n"})))
    assert (found.cpu_count, found.limits) == (16, ())


def test_v1_limits_of_every_ancestor(machine):
    files = v1(
        memory="/user/job",
        cpu="/batch/job",
        cpuset="/set",
        **{
            "memory__memory.limit_in_bytes": UNLIMITED,
            "memory__user__memory.limit_in_bytes": str(12 * GIB),
            "memory__user__memory.usage_in_bytes": str(6 * GIB),
            "memory__user__memory.stat": f"cache 1\ntotal_inactive_file {GIB}\ntotal_active_file {GIB}\n",
            "memory__user__job__memory.limit_in_bytes": UNLIMITED,
            "cpu,cpuacct__batch__cpu.cfs_quota_us": "600000",
            "cpu,cpuacct__batch__cpu.cfs_period_us": "100000",
            "cpu,cpuacct__batch__job__cpu.cfs_quota_us": "-1",
            "cpu,cpuacct__batch__job__cpu.cfs_period_us": "100000",
            "cpuset__set__cpuset.cpus": "0-9",
        },
    )
    found = detect(machine(cpus=16, memory_gb=64.0, files=files))
    assert found.failures == ()
    assert (found.cpu_count, found.memory_gb, found.available_memory_gb) == (6, 12.0, 8.0)
    assert found.cpu_limit_source == "quota in /sys/fs/cgroup/cpu,cpuacct/batch/cpu.cfs_quota_us"
    assert found.memory_limit_source == "/sys/fs/cgroup/memory/user/memory.limit_in_bytes"
    assert {limit.value for limit in found.limits if limit.resource == "cpu"} == {6.0, 10.0}


def test_v1_ancestors_a_container_cannot_see_still_count(machine):
    files = v1(
        **{
            "memory__memory.limit_in_bytes": UNLIMITED,
            "memory__memory.stat": f"hierarchical_memory_limit {2 * GIB}\n",
        }
    )
    found = detect(machine(memory_gb=64.0, files=files))
    assert found.memory_gb == 2.0
    assert "hierarchical_memory_limit" in found.memory_limit_source


def test_v1_ancestor_without_hierarchy_limits_nobody_below(machine):
    files = v1(memory="/a/b", **{"memory__a__memory.limit_in_bytes": str(GIB), "memory__a__memory.use_hierarchy": "0"})
    assert detect(machine(memory_gb=64.0, files=files)).memory_gb == 64.0


def test_v1_container_that_sees_only_its_own_group(machine):
    mount = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    files = {
        "/proc/self/cgroup": "4:memory:/docker/abc\n",
        "/proc/self/mountinfo": mount,
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": str(3 * GIB),
    }
    assert detect(machine(memory_gb=64.0, files=files)).memory_gb == 3.0


def test_a_group_outside_the_mount_is_told(machine):
    files = {
        "/proc/self/cgroup": "0::/../other\n",
        "/proc/self/mountinfo": V2_MOUNT,
        "/sys/fs/cgroup/memory.max": str(3 * GIB),
    }
    found = detect(machine(memory_gb=64.0, files=files))
    assert found.memory_gb == 3.0
    assert "/../other lies outside" in found.problems[0]


def test_mount_points_with_spaces_and_groups_with_colons(machine):
    files = {
        "/proc/self/cgroup": "0::/a:b\n",
        "/proc/self/mountinfo": "30 23 0:26 / /mnt/my\\040groups rw - cgroup2 none rw\n",
        "/mnt/my groups/a:b/memory.max": str(GIB),
    }
    assert detect(machine(memory_gb=64.0, files=files)).memory_gb == 1.0


@pytest.mark.parametrize("text", ["", "a lot\n", "12 GB"])
def test_a_limit_that_cannot_be_read_is_a_failed_detection(machine, text):
    found = detect(machine(memory_gb=64.0, files=v2("/a", **{"a__memory.max": text})))
    assert found.failures[0].startswith("/sys/fs/cgroup/a: memory limit: ValueError")
    assert found.recommended_workers == 1


def test_cpu_lists():
    assert parse_cpu_list("0-3,8, 10-11\n") == {0, 1, 2, 3, 8, 10, 11}
    assert parse_cpu_list("\n") == frozenset()


_CHILD = """
import json
from forge_tui.resources.hardware import detect
found = detect(measure_usage=False)
print(json.dumps([found.memory_gb, found.available_memory_gb, found.memory_limit_source, found.failures]))
"""


def test_a_real_v1_memory_group_is_detected():
    probe = SystemProbe()
    groups, _ = find_groups(probe.read)
    parents = [Path(group.directories[0]) for group in groups if "memory" in group.controllers]
    if not parents:
        pytest.skip("no v1 memory control group on this machine")
    group = parents[0] / f"forge-tui-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group may be made here: {error}")
    try:
        (group / "memory.limit_in_bytes").write_text(str(512 * 2**20))
        root = Path(__file__).parents[2]
        # The shell moves itself in first, so that the interpreter is inside from its first page on.
        output = subprocess.run(
            ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), sys.executable, "-c", _CHILD],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert output.returncode == 0, output.stderr
        limit, available, source, failures = json.loads(output.stdout)
        assert (limit, source, failures) == (0.5, str(group / "memory.limit_in_bytes"), [])
        assert 0.2 < available < 0.5
        assert not any(entry.limit == 512 * 2**20 for entry in read_limits(probe.read).memory)
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """A group can be removed once the kernel has let go of the last process that was in it."""
    deadline = time.monotonic() + 10
    while group.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            group.rmdir()
    assert not group.exists()
