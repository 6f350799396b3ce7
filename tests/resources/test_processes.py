"""Memory of processes, and whether lower priority has an effect."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from forge_tui.resources.priority import lower_priority, lower_session, priority_effect
from forge_tui.resources.process_memory import peak_rss, process_memory, process_tree_rss

MIB = 2**20


def test_peak_memory_outlives_the_memory():
    code = "import sys\nb = bytearray(b'x') * (64 << 20)\ndel b\nprint(flush=True)\nsys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    memory = process_memory(child.pid)
    assert memory is not None
    assert memory.peak is not None
    assert memory.peak - memory.resident > 48 * MIB
    assert process_tree_rss(os.getpid()) > process_tree_rss(child.pid) > 0
    child.communicate()
    assert (process_memory(child.pid), peak_rss(child.pid), process_tree_rss(child.pid)) == (None, None, 0)


@pytest.mark.parametrize(
    ("files", "works", "words"),
    [
        ({}, True, "all other processes"),
        (
            {"/proc/sys/kernel/sched_autogroup_enabled": "1\n", "/proc/self/autogroup": "/autogroup-4 nice 0\n"},
            True,
            "session's autogroup",
        ),
        ({"/proc/sys/kernel/sched_autogroup_enabled": "1\n"}, False, "cannot be written"),
        (
            {
                "/proc/self/cgroup": "1:cpu:/job\n",
                "/proc/self/mountinfo": "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
            },
            False,
            "same control group (/sys/fs/cgroup/cpu/job)",
        ),
    ],
)
def test_priority_effect_is_told_in_words(machine, files, works, words):
    effect = priority_effect(machine(files=files))
    assert effect.works is works
    assert words in effect.reason


def test_priority_is_lowered_and_never_raised():
    code = (
        "import os\nfrom forge_tui.resources.priority import lower_priority\nassert lower_priority(7) is None\n"
        "lower_priority(3)\nprint(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    before = os.getpriority(os.PRIO_PROCESS, 0)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) == max(7, before)
    assert lower_priority(before) is None


def in_a_session_of_its_own(code: str) -> str:
    """Output of code that runs in a new session, and so in an autogroup of its own, as a user without privileges."""
    drop = (
        "import ctypes, os\nos.setsid()\nfrom forge_tui.resources.priority import lower_priority, lower_session\n"
        # Who gives up root may no longer write its own /proc entries, until told that it may (PR_SET_DUMPABLE).
        "if os.geteuid() == 0:\n    os.setuid(65534)\n    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n"
    )
    show = "print(open('/proc/self/autogroup').read().split()[-1], os.getpriority(os.PRIO_PROCESS, 0))\n"
    done = subprocess.run(
        [sys.executable, "-c", drop + code + show], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


needs_autogroups = pytest.mark.skipif(
    not os.path.exists("/proc/self/autogroup"), reason="this kernel does not group sessions"
)


@needs_autogroups
def test_a_session_is_lowered_apart_from_its_processes():
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert in_a_session_of_its_own("assert lower_session(10) is None\n") == f"10 {before}\n"


@needs_autogroups
def test_both_are_lowered_together():
    before = os.getpriority(os.PRIO_PROCESS, 0)
    code = "assert lower_priority(10, own_session=True) is None\n"
    assert in_a_session_of_its_own(code) == f"10 {max(10, before)}\n"


@needs_autogroups
def test_a_session_is_never_raised_and_the_kernels_rate_limit_is_outlasted():
    code = "assert [lower_session(nice) for nice in (5, 7, 9, 3)] == [None] * 4\n"
    assert in_a_session_of_its_own(code).split()[0] == "9"


def test_a_session_that_cannot_be_lowered_is_told(tmp_path):
    assert lower_session(10, str(tmp_path / "absent")) is None
    assert lower_session(10, str(tmp_path)) == f"{tmp_path}: Is a directory"
