"""Steps to 95 % of validation accuracy on x·y mod 97, against the GrokFast paper: prints a table.

`there`: the seeds that reached it; figures over all seeds are missing where they need one that did not.

python tests/benchmarks/grokking.py [--seeds 5] [--epochs 200] [--sides ema,ma,fast]

`ema` is the preset `grokking`, `ma` the same with the windowed average of the paper, `fast` the preset `grokking-fast`,
`off` the first without GrokFast (some 40,000 steps: give it --epochs 5000). Each is one run of `forge-tui`, whose seeds
train side by side. Validation is once an epoch, of 10 steps, as in the paper's own code. Steps do not depend on the
machine's speed; where it rounds otherwise, a seed's steps are others.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path

from ui_support import FORGE_TUI, folder, machine, timed

REACHED = 0.95
SIDES = {
    "ema": (("--preset", "grokking"), "paper: 910"),
    "ma": (
        ("--preset", "grokking", "--grokfast-filter", "ma", "--grokfast-lambda", "5", "--weight-decay", "0.01"),
        "paper: 790",
    ),
    "fast": (("--preset", "grokking-fast"), "to reach: 700"),
    "off": (("--preset", "grokking", "--no-grokfast-enabled", "--weight-decay", "0"), "paper: 39890"),
}


def steps_of(side: str, options: argparse.Namespace, place: Path) -> tuple[list[float], float]:
    """Each seed's steps to the accuracy (infinite where it is not reached), and the seconds of the run."""
    command = [
        *FORGE_TUI, "--no-ui", *SIDES[side][0], "--policy", "dedicated", "--models", options.seeds, "--output", "run",
        *(("--epochs", options.epochs) if options.epochs else ()),
    ]  # fmt: skip
    seconds, _ = timed(command, place)
    records = [json.loads(path.read_bytes()) for path in sorted((place / "run").glob("cognate_*.json"))]
    return [_first(record["history"]) for record in records], seconds


def _first(history: list[dict[str, float]]) -> float:
    return next((epoch["step"] for epoch in history if epoch["validation_accuracy"] >= REACHED), float("inf"))


def main() -> None:
    """Train each side and print its steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=None, help="instead of the preset's")
    parser.add_argument("--sides", default="ema,ma,fast")
    options = parser.parse_args()
    print(f"{machine()}; x·y mod 97, steps to {REACHED:.0%} of validation accuracy, {options.seeds} seeds")
    print(f"{'':8}{'there':>8}{'median':>8}{'mean':>8}{'least':>8}{'most':>8}{'seconds':>9}")
    for side in options.sides.split(","):
        with folder() as place:
            steps, seconds = steps_of(side, options, place)
        figures = (statistics.median(steps), statistics.mean(steps), min(steps), max(steps))
        told = "".join(f"{figure:8.0f}" if math.isfinite(figure) else f"{'—':>8}" for figure in figures)
        there = f"{sum(map(math.isfinite, steps))}/{len(steps)}"
        print(f"{side:8}{there:>8}{told}{seconds:9.0f}   {SIDES[side][1]}", flush=True)


if __name__ == "__main__":
    main()
