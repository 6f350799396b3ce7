"""The run's energy in the sidebar: the sum, its parts, and why something is unknown."""

from __future__ import annotations

import pytest
from rich.text import Text

from forge_tui.protocol.energy import Energy
from forge_tui.tui.widgets.sidebar import energy_part


@pytest.mark.parametrize(
    ("energy", "lines"),
    [
        (
            Energy(packages=90_000.0, cpu=18_000.0, gpus={"GPU-a": 54_000.0}, intensity=500.0),
            ["ENERGY 72 kJ, 10 g CO2", "CPU 18 kJ of 90 kJ", "GPU 54 kJ"],
        ),
        (
            Energy(gpus={"GPU-a": 54_000.0}, cpu_unknown="only root may read it; an administrator can allow it"),
            ["ENERGY at least 54 kJ", "GPU 54 kJ", "only root may read it"],
        ),
        (Energy(cpu_unknown="no counter\x1b[31m here"), ["ENERGY unknown", "no counter [31m here"]),
    ],
)
def test_lines(energy: Energy, lines: list[str]) -> None:
    text = Text("GPU none found")
    energy_part(text, energy.to_record(), 78)
    assert text.plain.splitlines() == ["GPU none found", *lines]


def test_where_there_is_little_room_the_reason_is_left_out() -> None:
    text = Text()
    energy_part(text, Energy(cpu_unknown="only root may read it").to_record(), 30)
    energy_part(text, Energy(packages=9.0, cpu=2.0, gpu_unknown="no counter").to_record(), 30)
    assert text.plain.splitlines() == ["ENERGY unknown", "ENERGY at least 2 J", "CPU 2 J of 9 J"]
