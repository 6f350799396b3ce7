"""Busy is others' work: this user's runs and their descendants do not count."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from forge_tui.resources import usage
from forge_tui.resources.usage import CpuMeter, is_own


class Recorded:
    """Two readings of a machine, 1 s apart: CPU times by core, and this user's processes."""

    def __init__(self, monkeypatch, cores, processes) -> None:
        self.cores, self.processes, self.now = iter(cores), iter(processes), iter([0.0, 1.0, 1.0, 1.0])
        monkeypatch.setattr(usage, "time", SimpleNamespace(monotonic=lambda: next(self.now)))
        monkeypatch.setattr(usage, "_own_user_times", lambda: next(self.processes))
        monkeypatch.setattr(usage, "psutil", SimpleNamespace(Process=self.process, Error=psutil.Error))

    @staticmethod
    def process(pid: int) -> SimpleNamespace:
        return SimpleNamespace(pid=pid)

    def cpu_times(self):
        return next(self.cores)


def times(parent: int, seconds: float, started: int = 1) -> usage._Times:
    return usage._Times(parent, started, seconds)


FOUR_CORES = [(0.0, 0.0)] * 4
THREE_BUSY = [(1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (0.0, 1.0)]


def test_work_of_own_processes_and_their_descendants_is_not_others(monkeypatch):
    before = {10: times(1, 5.0), 11: times(10, 0.0), 12: times(1, 3.0)}
    after = {10: times(1, 5.0), 11: times(10, 1.0), 12: times(1, 4.0), 13: times(11, 1.0)}
    probe = Recorded(monkeypatch, [FOUR_CORES, THREE_BUSY], [before, after])
    measured = CpuMeter(probe, own=lambda process: process.pid == 10).since_last()
    assert measured.percent == 75.0
    assert measured.others_percent == 25.0  # 12 alone: 11 is a child of 10, and 13, which began meanwhile, of 11
    assert measured.per_core == (100.0, 100.0, 100.0, 0.0)


def test_only_processes_that_used_time_are_asked(monkeypatch):
    asked: list[int] = []
    before = {pid: times(1, 1.0) for pid in range(10, 50)}
    after = before | {20: times(1, 1.5)}
    probe = Recorded(monkeypatch, [FOUR_CORES, THREE_BUSY], [before, after])
    CpuMeter(probe, own=lambda process: asked.append(process.pid) is not None).since_last()
    assert asked == [20]


def test_a_reused_pid_counts_from_its_start(monkeypatch):
    before, after = {10: times(1, 100.0, started=1)}, {10: times(1, 1.0, started=2)}
    probe = Recorded(monkeypatch, [FOUR_CORES, THREE_BUSY], [before, after])
    assert CpuMeter(probe, own=lambda process: True).since_last().others_percent == 50.0


def test_within_a_cpu_set_only_its_cpus_count(monkeypatch):
    probe = Recorded(monkeypatch, [FOUR_CORES, THREE_BUSY], [{}, {}])
    measured = CpuMeter(probe, cpus=frozenset({2, 3})).since_last()
    assert (measured.percent, measured.others_percent) == (75.0, 50.0)


def test_no_sample_shorter_than_100_ms(monkeypatch):
    probe = Recorded(monkeypatch, [FOUR_CORES, THREE_BUSY], [{}, {}])
    probe.now = iter([0.0, 0.05])
    assert CpuMeter(probe).since_last() is None


@pytest.mark.parametrize(
    ("command", "own"),
    [
        (["python", "-P", "-m", "forge_tui", "--no-ui"], True),
        (["forge-tui: worker cognate_planner_1"], True),
        (["python", "-m", "http.server"], False),
        (["grep", "forge_tui"], False),
        ([], False),
    ],
)
def test_own_processes_are_known_by_command_line_and_title(command, own):
    assert is_own(SimpleNamespace(pid=-1, cmdline=lambda: command)) is own


def test_this_process_is_own_and_its_times_are_read():
    assert is_own(psutil.Process())
    found = usage._own_user_times()
    assert found[os.getpid()].parent == os.getppid()
    assert found[os.getpid()].seconds > 0


def test_real_work_of_a_child_is_our_own():
    burner = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        assert burner.stdout is not None
        burner.stdout.readline()
        before, times_before = usage._own_user_times(), usage.SystemProbe()
        meter = CpuMeter(times_before)
        while True:  # until the child has used CPU time within the sample
            measured = meter.measure(0.1)
            if usage._own_user_times()[burner.pid].seconds - before[burner.pid].seconds >= 0.05:
                break
        assert measured.percent > 0
        assert meter._belongs(burner.pid, {})
    finally:
        burner.kill()
        burner.communicate()
