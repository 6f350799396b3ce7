"""Energy counters: which packages there are, what they used between two readings, and why nothing can be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fake_nvml import Card, Instance, install

from forge_tui.resources.energy import CpuEnergyReader, find_packages, gpu_joules
from forge_tui.resources.gpus import GpuReader
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.resources.usage import tree_seconds

RANGE = 262_143_328_850


class Powercap(SystemProbe):
    """A machine with these domains in its powercap tree: name, counter and range in microjoules, by directory."""

    def __init__(self, root: Path, domains: dict[str, tuple[str, int, int]]) -> None:
        super().__init__(root)
        self.busy, self.now, self.own, self.denied = 0.0, 0.0, 0.0, False
        for directory, (name, _, most) in domains.items():
            self.place(directory).mkdir(parents=True)
            (self.place(directory) / "name").write_text(f"{name}\n")
            (self.place(directory) / "max_energy_range_uj").write_text(f"{most}\n")
        self.count(**{directory: counter for directory, (_, counter, _) in domains.items()})

    def place(self, directory: str) -> Path:
        return self.root / "sys/class/powercap" / directory

    def count(self, **counters: int) -> None:
        for directory, counter in counters.items():
            (self.place(directory) / "energy_uj").write_text(f"{counter}\n")

    def read(self, path: str) -> str | None:
        if self.denied and path.endswith("energy_uj"):
            raise PermissionError(13, "Permission denied", path)
        return super().read(path)

    def cpu_times(self) -> list[tuple[float, float]]:
        return [(self.busy / 2, 100.0), (self.busy / 2, 100.0)]

    def reader(self) -> CpuEnergyReader:
        return CpuEnergyReader(self, lambda: self.own, lambda: self.now)


def two_packages(root: Path) -> Powercap:
    domains = {f"intel-rapl:{n}": (f"package-{n}", 1_000_000 * n, RANGE) for n in (0, 1)}
    return Powercap(root, domains)


def test_packages_are_found_once_and_their_parts_and_the_whole_computer_are_none(tmp_path):
    probe = Powercap(
        tmp_path,
        {
            "intel-rapl-mmio:0": ("package-0", 1, RANGE),
            "intel-rapl:0": ("package-0", 2, RANGE),
            "intel-rapl:0:0": ("core", 3, RANGE),
            "intel-rapl:0:1": ("dram", 4, RANGE),
            "intel-rapl:1": ("psys", 5, RANGE),
            "intel-rapl:2": ("package-1-die-0", 6, 65_532_610_987),
            "dtpm": ("dtpm", 7, RANGE),
        },
    )
    found = find_packages(probe)
    assert [(one.name, one.path) for one in found] == [
        ("package-0", "/sys/class/powercap/intel-rapl:0/energy_uj"),
        ("package-1-die-0", "/sys/class/powercap/intel-rapl:2/energy_uj"),
    ]
    assert [one.wraps_at for one in found] == [pytest.approx(262_143.32885), pytest.approx(65_532.610987)]


def test_both_packages_count_and_our_share_is_that_of_our_cpu_time(tmp_path):
    probe = two_packages(tmp_path)
    reader = probe.reader()
    before = reader.read()
    probe.count(**{"intel-rapl:0": 30_000_000, "intel-rapl:1": 11_000_000})
    probe.busy, probe.own, probe.now = 8.0, 2.0, 2.0
    used = reader.between(before, reader.read())
    assert (used.packages, used.share, used.seconds) == (pytest.approx(40.0), pytest.approx(10.0), 2.0)


def test_a_counter_that_began_again_has_used_the_rest_and_the_beginning(tmp_path):
    probe = Powercap(tmp_path, {"intel-rapl:0": ("package-0", RANGE - 2_000_000, RANGE)})
    reader = probe.reader()
    before = reader.read()
    probe.count(**{"intel-rapl:0": 3_000_000})
    probe.busy = probe.own = 1.0
    assert reader.between(before, reader.read()).packages == pytest.approx(5.0)


def test_a_gap_in_which_a_counter_may_begin_again_twice_is_not_known(tmp_path):
    probe = two_packages(tmp_path)
    reader = probe.reader()
    before = reader.read()
    probe.now = 60.0
    assert reader.between(before, reader.read()).seconds == 60.0
    probe.now = 60.1
    assert reader.between(before, reader.read()) is None


@pytest.mark.parametrize(("busy", "own", "share"), [(0.0, 0.0, 0.0), (1.0, 1.5, 40.0), (1.0, -0.5, 0.0)])
def test_a_share_is_from_nothing_to_all(tmp_path, busy, own, share):
    """Clocks tick in hundredths of a second: a reading may have more of our time than of the machine's."""
    probe = two_packages(tmp_path)
    reader = probe.reader()
    before = reader.read()
    probe.count(**{"intel-rapl:0": 40_000_000})
    probe.busy, probe.own = busy, own
    assert reader.between(before, reader.read()).share == pytest.approx(share)


def test_what_only_root_may_read_is_unknown_and_says_so(tmp_path):
    probe = two_packages(tmp_path)
    probe.denied = True
    reader = probe.reader()
    assert (reader.read(), reader.packages) == (None, ())
    assert reader.problem.startswith("only root may read /sys/class/powercap/*/energy_uj here")


def test_a_machine_without_counters_says_so(tmp_path):
    reader = Powercap(tmp_path, {}).reader()
    assert reader.read() is None
    assert reader.problem.startswith("/sys/class/powercap has no CPU package")


def test_a_counter_that_fails_later_is_unknown_from_then_on(tmp_path):
    probe = two_packages(tmp_path)
    reader = probe.reader()
    assert reader.packages == ("package-0", "package-1")
    probe.place("intel-rapl:1").joinpath("energy_uj").unlink()
    assert reader.read() is None
    assert reader.problem == ("/sys/class/powercap cannot be read: /sys/class/powercap/intel-rapl:1/energy_uj is gone")


def test_the_cpu_time_of_children_that_have_ended_counts_once():
    """What a child has used stays in the tree when it ends and is waited for."""
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint(time.process_time())"
    code = (
        "import os, subprocess, sys, time\n"
        "from forge_tui.resources.usage import tree_seconds\n"
        "before, own = tree_seconds(os.getpid()), time.process_time()\n"
        f"done = subprocess.run([sys.executable, '-S', '-c', {burn!r}], capture_output=True, text=True)\n"
        "print(done.stdout, tree_seconds(os.getpid()) - before - time.process_time() + own)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    child, used = map(float, done.stdout.split())
    assert 0.8 * child <= used <= 1.6 * child


def test_a_process_that_does_not_exist_has_used_nothing():
    assert tree_seconds(2**22 + 1) == 0.0


def test_a_gpus_counter_is_read_and_its_instances_share_it(monkeypatch):
    small, large = Instance("MIG-1"), Instance("MIG-2")
    install(monkeypatch, Card("GPU-a", energy=1_234_500), Card("GPU-b", energy=9_000, mig={0: small, 3: large}))
    assert gpu_joules(GpuReader().read()) == {"GPU-a": 1_234.5, "GPU-b": 9.0}


@pytest.mark.parametrize("missing", [(), ("nvmlDeviceGetTotalEnergyConsumption",)])
def test_a_gpu_or_a_driver_without_the_counter_has_none(monkeypatch, missing):
    install(monkeypatch, Card("GPU-a", energy=5 if missing else None), missing=missing)
    assert gpu_joules(GpuReader().read()) == {"GPU-a": None}
