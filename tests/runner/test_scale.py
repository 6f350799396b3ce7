"""Many nodes that are lost and come back: no place is idle while models wait, the order is kept, the cost is linear."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest
from simulated import Pace, Simulation

from forge_tui.protocol.phases import RunState

LOSSY = Pace(lost=200.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nodes_that_come_and_go_cost_no_retry_no_order_and_no_idle_place(tmp_path: Path, seed: int) -> None:
    simulation = Simulation(tmp_path, nodes=16, models=600, pace=LOSSY, seed=seed)
    assert simulation.run() is RunState.COMPLETED
    cluster = simulation.cluster
    assert cluster.losses > 3
    assert {model.attempt for model in simulation.journal.models.values()} > {1}
    failures = [failure for model in simulation.journal.models.values() for failure in model.failures]
    assert {failure.kind for failure in failures} == {"node_lost"}
    assert set(cluster.trained.values()) == {1}
    assert cluster.first_starts == sorted(cluster.first_starts)
    assert simulation.longest_idle <= 1.0


def test_every_place_is_taken_at_the_start(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, nodes=50, models=500, pace=Pace())
    simulation.run()
    assert simulation.filled_at is not None
    assert simulation.filled_at <= 1.0


def test_the_same_seed_gives_the_same_course(tmp_path: Path) -> None:
    courses = []
    for number in range(2):
        simulation = Simulation(tmp_path / str(number), nodes=5, models=100, pace=LOSSY, seed=4)
        simulation.run()
        courses.append((simulation.clock.now, simulation.cluster.messages, simulation.cluster.losses))
    assert courses[0] == courses[1]


def _calls_per_message(base: Path, nodes: int) -> float:
    """How many functions are called for a message of a worker."""
    simulation = Simulation(base, nodes=nodes, models=20 * nodes, pace=LOSSY)
    calls = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        simulation.run()
    finally:
        sys.setprofile(None)
    return calls / simulation.cluster.messages


def test_the_cost_of_a_message_does_not_grow_with_the_number_of_nodes_and_models(tmp_path: Path) -> None:
    few, many = _calls_per_message(tmp_path / "few", 6), _calls_per_message(tmp_path / "many", 48)
    assert many < 1.5 * few, (few, many)
