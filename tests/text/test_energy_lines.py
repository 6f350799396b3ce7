"""The energy of a run in words: figures with their units, parts beside the sum, and reasons for what is unknown."""

from __future__ import annotations

import pytest

from forge_tui.protocol.energy import Energy
from forge_tui.text.energy_lines import co2_text, energy_in_short, energy_lines, joules_text

DENIED = "only root may read it"


@pytest.mark.parametrize(
    ("joules", "text"),
    [(0.0, "0 J"), (950.4, "950 J"), (999.9, "1 kJ"), (41_234.0, "41.2 kJ"), (7.2e6, "7.2 MJ"), (3.456e9, "3.46 GJ")],
)
def test_joules(joules: float, text: str) -> None:
    assert joules_text(joules) == text


@pytest.mark.parametrize(("grams", "text"), [(0.25, "250 mg CO2"), (3.214, "3.21 g CO2"), (1_234.0, "1.23 kg CO2")])
def test_co2(grams: float, text: str) -> None:
    assert co2_text(grams) == text


def test_all_of_it_is_known() -> None:
    energy = Energy(packages=90_000.0, cpu=18_000.0, gpus={"GPU-a": 54_000.0}, intensity=500.0)
    assert energy_lines(energy) == [
        "Energy: 72 kJ (20 Wh), 10 g CO2 at 500 g/kWh",
        "Energy by part: CPU 18 kJ, this run's share by CPU time of 90 kJ in all; whole GPUs while it was on them: "
        "GPU-a 54 kJ",
    ]
    assert energy_in_short(energy) == ["72 kJ, 10 g CO2", "CPU 18 kJ of 90 kJ", "GPU 54 kJ"]


def test_a_part_is_unknown() -> None:
    energy = Energy(gpus={"GPU-a": 1_000.0, "GPU-b": 2_000.0}, cpu_unknown=DENIED, intensity=400.0)
    assert energy_lines(energy) == [
        "Energy: at least 3 kJ (0.833 Wh), at least 333 mg CO2 at 400 g/kWh",
        f"Energy by part: CPU unknown: {DENIED}; whole GPUs while it was on them: GPU-a 1 kJ, GPU-b 2 kJ",
    ]
    assert energy_in_short(energy) == ["at least 3 kJ, 333 mg CO2", "GPUs 3 kJ", DENIED]


def test_nothing_is_known() -> None:
    assert energy_lines(Energy(cpu_unknown=DENIED)) == ["Energy: unknown", f"Energy by part: CPU unknown: {DENIED}"]
    assert energy_in_short(Energy(cpu_unknown=f"{DENIED}; ask for it")) == ["unknown", DENIED]


def test_without_an_intensity_there_is_no_co2() -> None:
    energy = Energy(packages=10.0, cpu=5.0, gpu_unknown="no counter")
    assert energy_lines(energy) == [
        "Energy: at least 5 J (0.00139 Wh)",
        "Energy by part: CPU 5 J, this run's share by CPU time of 10 J in all; GPU unknown: no counter",
    ]


def test_a_run_of_an_older_version_has_no_line() -> None:
    assert energy_lines(None) == []


def test_a_record_from_elsewhere_shows_nothing_that_is_never_written() -> None:
    record = {"packages": -1.0, "cpu": "a", "gpus": {"a": 1.0, "b": True, "c": [2]}, "cpu_unknown": 3, "joules": 9.0}
    assert Energy.from_record(record) == Energy(gpus={"a": 1.0})
    assert Energy.from_record(Energy(cpu=1.0, gpus={"a": 2.0}).to_record()) == Energy(cpu=1.0, gpus={"a": 2.0})
