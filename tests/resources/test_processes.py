"""Memory of processes, and whether lower priority has an effect."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from forge_tui.resources.priority import lower_priority, priority_effect
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
