"""Kills for want of memory: counted where the victim was, v1, v2, machine; and one real kill."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge_tui.resources.cgroups import find_groups
from forge_tui.resources.oom import oom_kills
from forge_tui.resources.system_probe import SystemProbe

V1_MOUNT = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
VMSTAT = "nr_free_pages 1\noom_kill 9\npgfault 4\n"


def events(kills: int) -> str:
    return f"low 0\nhigh 3\nmax 7\noom 5\noom_kill {kills}\noom_group_kill 6\n"


def control(kills: int) -> str:
    return f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"


V2 = {"/proc/self/cgroup": "0::/user/job\n", "/proc/self/mountinfo": V2_MOUNT, "/proc/vmstat": VMSTAT}
V1 = {"/proc/self/cgroup": "4:memory:/user/job\n0::/\n", "/proc/self/mountinfo": V1_MOUNT, "/proc/vmstat": VMSTAT}
V2_GROUP, V1_GROUP = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        # The ancestor's count holds other users' processes too.
        (V2 | {f"{V2_GROUP}/user/job/memory.events": events(2), f"{V2_GROUP}/user/memory.events": events(8)}, 2),
        (V2 | {f"{V2_GROUP}/user/job/memory.events": events(0)}, 0),
        # The memory controller is not enabled in the own group: its processes count in the next one up.
        (V2 | {f"{V2_GROUP}/user/memory.events": events(8)}, 8),
        (V1 | {f"{V1_GROUP}/user/job/memory.oom_control": control(3), f"{V1_GROUP}/memory.oom_control": control(7)}, 3),
        (V1 | {f"{V1_GROUP}/memory.oom_control": control(7)}, 7),
        # A kernel before 4.13 counts nothing there.
        (V1 | {f"{V1_GROUP}/user/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, 9),
        (V2, 9),
        ({"/proc/vmstat": VMSTAT}, 9),
        ({"/proc/vmstat": "nr_free_pages 1\n"}, None),
        ({"/proc/vmstat": "oom_kill many\n"}, None),
        ({"/proc/self/cgroup": "nonsense\n", "/proc/self/mountinfo": V2_MOUNT, "/proc/vmstat": VMSTAT}, 9),
        ({}, None),
    ],
)
def test_the_nearest_group_that_counts_tells(machine, files, kills):
    assert oom_kills(machine(files=files).read) == kills


def test_a_file_that_cannot_be_read_leaves_the_next_one(machine):
    probe = machine(
        files=V2 | {f"{V2_GROUP}/user/job/memory.events/file": "", f"{V2_GROUP}/user/memory.events": "oom_kill 4\n"}
    )
    with pytest.raises(IsADirectoryError):
        probe.read(f"{V2_GROUP}/user/job/memory.events")
    assert oom_kills(probe.read) == 4


_SUPERVISOR = """
import subprocess, sys
from forge_tui.resources.oom import oom_kills
from forge_tui.resources.system_probe import SystemProbe
read = SystemProbe().read
before = oom_kills(read)
eat = "data = bytearray()\\nwhile True:\\n    data += bytes(b'x' * (1 << 20))"
survivor = subprocess.run([sys.executable, "-c", "print('small')"], capture_output=True)
between = oom_kills(read)
victim = subprocess.run([sys.executable, "-c", eat])
print(survivor.returncode, between - before, victim.returncode, oom_kills(read) - before)
"""


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A v1 group with at most 64 MiB, swap included; gone after the test, whatever became of it."""
    groups, _ = find_groups(SystemProbe().read)
    parents = [Path(group.directories[0]) for group in groups if group.version == 1 and "memory" in group.controllers]
    if not parents:
        pytest.skip("no v1 memory control group on this machine")
    group = parents[0] / f"forge-tui-oom-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group may be made here: {error}")
    try:
        (group / "memory.limit_in_bytes").write_text(str(64 * 2**20))
        with contextlib.suppress(OSError):  # a kernel without swap accounting has no such file
            (group / "memory.memsw.limit_in_bytes").write_text(str(64 * 2**20))
        yield group
    finally:
        # It can be removed once the kernel has let go of the last process that was in it.
        deadline = time.monotonic() + 10
        while group.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                group.rmdir()
        assert not group.exists()


def test_a_real_kill_is_counted(small_group: Path):
    root = Path(__file__).parents[2]
    # The shell moves itself in first, so that all that follows is inside.
    done = subprocess.run(
        ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(small_group), sys.executable, "-c", _SUPERVISOR],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    # The one that ate was killed (by SIGKILL), and its supervisor, the smaller one, was not.
    assert (done.returncode, done.stdout) == (0, "0 0 -9 1\n"), done.stderr
