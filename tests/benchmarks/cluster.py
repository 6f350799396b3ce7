"""A whole run on a Ray cluster of two nodes on this machine, against Ray Tune on the same nodes: prints two tables.

python tests/benchmarks/cluster.py [--rounds 3] [--models 12] [--size 104000] [--fuse 1,6,auto] [--small 24]

The cluster, with a CPU a node, is started once, and the sides take turns: each connects to it, trains and leaves. What
is trained is that of `training.py`. The second table is the cost of one more model in series where its training costs
nothing, on this machine and on the nodes: from the start of a model to that of the next. Needs
`pip install -e '.[test,ray,peers]'`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from ray_nodes import RayNodes
from training import COMPARED_EPOCH, PEERS
from ui_support import FORGE_TUI, folder, machine, timed

_SETTINGS = ("data.validation_fraction=0.0", "data.normalise=false")


def by_tune(options: argparse.Namespace, nodes: RayNodes, place: Path) -> tuple[float, list[float]]:
    """Seconds of Ray Tune, and each model's loss of epoch 10."""
    output = place / "losses.jsonl"
    sizes = ("--models", options.models, "--size", options.size, "--epochs", options.epochs)
    command = [sys.executable, PEERS, "ray", *sizes, "--output", output, "--address", nodes.address]
    seconds, _ = timed(command, place, nodes.environment)
    return seconds, [json.loads(line)[COMPARED_EPOCH - 1] for line in output.read_text(encoding="utf-8").splitlines()]


def by_us(fuse: str, options: argparse.Namespace, nodes: RayNodes, place: Path) -> tuple[float, list[float]]:
    """The same of `forge-tui --engine ray`."""
    command = [
        *FORGE_TUI, "--no-ui", "--preset", "dedicated", "--workers", 2, "--models", options.models, "--model-size",
        options.size, "--epochs", options.epochs, "--threads", 1, "--fuse", fuse, "--output", "run", "--engine", "ray",
        "--address", nodes.address, "--set", "data.samples=640",
        *(part for setting in _SETTINGS for part in ("--set", setting)),
    ]  # fmt: skip
    seconds, _ = timed(command, place, nodes.environment)
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (place / "run").glob("cognate_*.json")]
    records.sort(key=lambda record: record["seed"])
    return seconds, [record["history"][COMPARED_EPOCH - 1]["loss"] for record in records]


def next_model(where: Sequence[object], options: argparse.Namespace, nodes: RayNodes, place: Path) -> list[float]:
    """Milliseconds from the start of each model to that of the next, one at a time."""
    command = [
        *FORGE_TUI, "--no-ui", "--json", "--policy", "dedicated", "--threads", 1, "--models", options.small,
        "--epochs", 1, "--model-size", 1_000, "--batch-size", 64, "--output", "run", "--set", "data.samples=64",
        "--set", _SETTINGS[0], *where,
    ]  # fmt: skip
    _, said = timed(command, place, nodes.environment)
    events = [json.loads(line) for line in said.splitlines()]
    starts = [event["time"] for event in events if event["event"] == "model_started"]
    return [1000 * (later - earlier) for earlier, later in pairwise(starts)]


def main() -> None:
    """Measure in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--size", type=int, default=104_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--fuse", default="1,6,auto", help="models a group, several to compare")
    parser.add_argument("--small", type=int, default=24, help="models of the second table")
    options = parser.parse_args()
    told = machine()
    with contextlib.closing(RayNodes()) as nodes:
        nodes.add("b")
        _training(options, nodes, told)
        _next(options, nodes)


def _training(options: argparse.Namespace, nodes: RayNodes, told: str) -> None:
    sides: dict[str, Callable[[Path], tuple[float, list[float]]]] = {
        "Ray Tune": lambda place: by_tune(options, nodes, place)
    }
    for fuse in options.fuse.split(","):
        sides[f"forge-tui --fuse {fuse}"] = lambda place, fuse=fuse: by_us(fuse, options, nodes, place)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, side in sides.items():
            with folder() as place:
                taken, losses[name] = side(place)
            seconds[name].append(taken)
    print(
        f"{told}; two nodes of one CPU; {options.models} models of {options.size:,} parameters, {options.epochs} "
        f"epochs, median of {options.rounds}"
    )
    print(f"{'':24}{'seconds':>20}{'times as fast':>16}   loss of epoch {COMPARED_EPOCH}: greatest difference")
    first = losses["Ray Tune"]
    for name, values in seconds.items():
        middle = statistics.median(values)
        spread = f"{middle:.2f} ({min(values):.2f}–{max(values):.2f})"
        apart = max(abs(one - other) / other for one, other in zip(losses[name], first, strict=True))
        print(f"{name:24}{spread:>20}{statistics.median(seconds['Ray Tune']) / middle:16.2f}   {100 * apart:.3f} %")


def _next(options: argparse.Namespace, nodes: RayNodes) -> None:
    found: dict[str, list[float]] = {"here": [], "on a node": [], "on a node, files sent": []}
    ray = ("--engine", "ray", "--address", nodes.address)
    ways = {"here": (), "on a node": ray, "on a node, files sent": (*ray, "--files", "shipped")}
    for _ in range(options.rounds):
        for name, where in ways.items():
            with folder() as place:
                found[name] += next_model(where, options, nodes, place)
    print(f"\n{options.small} models of 1,000 parameters in series: ms from start to start, median and longest")
    here = statistics.median(found["here"])
    for name, values in found.items():
        middle = statistics.median(values)
        print(f"{name:24}{middle:10.0f}{max(values):10.0f}{middle / here:10.2f} times")


if __name__ == "__main__":
    main()
