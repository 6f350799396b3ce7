"""What scheduling costs on clusters of up to a thousand nodes, in simulated time: prints a table.

python tests/benchmarks/scale.py [--nodes 125,250,500,1000] [--places 8] [--models 50] [--lost 400]

The real scheduler and the real Ray engine run models that only report (three epochs of five simulated seconds, a
checkpoint) on nodes that do not exist, and which are lost and come back at random: each after `--lost` seconds on
average, for 30 seconds. `--models` is per node. CPU time is that of the whole process, the simulation's own part
included; nothing is written.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from simulated import Pace, Simulation
from ui_support import machine


def one(nodes: int, places: int, models: int, lost: float, seed: int) -> None:
    """Simulate one cluster, and print its row."""
    with tempfile.TemporaryDirectory() as base:
        simulation = Simulation(
            Path(base), nodes=nodes, places=places, models=models, seed=seed, pace=Pace(lost=lost)
        )  # fmt: skip
        begun = time.process_time()
        state = simulation.run()
        spent = time.process_time() - begun
    cluster = simulation.cluster
    order = "kept" if cluster.first_starts == sorted(cluster.first_starts) else "NOT KEPT"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{nodes:6,}{nodes * places:8,}{models:9,}{cluster.losses:8,}{cluster.messages:11,}{spent:9.1f}"
        f"{1e6 * spent / cluster.messages:10.0f}{peak:9.0f}{simulation.filled_at or 0.0:9.2f}"
        f"{simulation.longest_idle:9.2f}  {order:8} {state}"
    )


def main() -> None:
    """Simulate each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="125,250,500,1000")
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--models", type=int, default=50, help="per node")
    parser.add_argument("--lost", type=float, default=400.0, help="mean seconds until a node is lost")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(text) for text in options.nodes.split(",")]
    if options.one:
        one(sizes[0], options.places, sizes[0] * options.models, options.lost, options.seed)
        return
    print(machine())
    print(" nodes  places   models    lost   messages   CPU, s   µs each  MiB max  full, s  idle, s  order    state")
    for size in sizes:
        given = ("--places", options.places, "--models", options.models, "--lost", options.lost, "--seed", options.seed)
        command = [sys.executable, __file__, "--one", "--nodes", size, *given]
        subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    main()
