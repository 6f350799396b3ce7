"""What `forge-tui plan` says of each way to carry out a run, against the run carried out in full: prints a table.

python tests/benchmarks/plan.py [--rounds 3] [--models 12] [--size 104000] [--epochs 100] [--policy dedicated]
python tests/benchmarks/plan.py --busy N [--tries 20]: what `--fuse auto` chooses beside N busy loops (busy_choice.py)

The plan is measured before every round; then each way is run from command to exit, in turn. To reach: the way
chosen within 10 % of the best, its estimate within 20 % of what it takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

import busy_choice
from ui_support import FORGE_TUI, folder, machine


def main() -> None:
    """Measure in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--size", type=int, default=104_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--samples", type=int, default=640)
    parser.add_argument("--policy", default="dedicated")
    parser.add_argument("--busy", type=int, help="choices of `--fuse auto` beside so many busy loops")
    parser.add_argument("--tries", type=int, default=20)
    options = parser.parse_args()
    if options.busy is not None:
        busy_choice.measure(options)
        return
    told = machine()
    estimates: dict[str, list[float]] = {}
    taken: dict[str, list[float]] = {}
    chosen: list[str] = []
    spent: list[float] = []
    with folder() as home:
        for number in range(options.rounds):
            plan = json.loads(_forge(options, home, "plan", "--json")[1])
            ways = plan["estimates"]
            chosen.append(ways[0]["flags"])
            spent.append(plan["measured_seconds"])
            for one in ways:
                estimates.setdefault(one["flags"], []).append(one["seconds"])
            for one in sorted(ways, key=lambda one: one["flags"]):
                flags = one["flags"].split()
                seconds, _ = _forge(options, home, "--no-ui", *flags, "--output", f"run-{number}", "--overwrite")
                taken.setdefault(one["flags"], []).append(seconds)
    print(f"{told}; {options.models} models of {options.size:,} parameters, {options.epochs} epochs, ", end="")
    print(f"median of {options.rounds}; planned in {statistics.median(spent):.1f} s")
    print(f"{'way':<58}{'planned, s':>12}{'taken, s':>10}{'off':>7}{'chosen':>8}")
    medians = {flags: statistics.median(seconds) for flags, seconds in taken.items()}
    for flags, seconds in sorted(medians.items(), key=lambda item: item[1]):
        planned = statistics.median(estimates[flags])
        off = f"{100 * (planned / seconds - 1):+.0f} %"
        print(f"{flags:<58}{planned:12.2f}{seconds:10.2f}{off:>7}{chosen.count(flags):8}")
    worst = max(medians[flags] for flags in chosen) / min(medians.values())
    print(f"chosen ways take at most {100 * (worst - 1):.0f} % longer than the best")


def _forge(options: argparse.Namespace, home: Path, *words: object) -> tuple[float, str]:
    command = [
        *FORGE_TUI, *words, "--models", options.models, "--model-size", options.size, "--epochs", options.epochs,
        "--policy", options.policy, "--set", f"data.samples={options.samples}",
    ]  # fmt: skip
    begun = time.perf_counter()
    done = subprocess.run([str(part) for part in command], cwd=home, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{command} exits {done.returncode}:\n{done.stderr[-2_000:]}")
    return seconds, done.stdout


if __name__ == "__main__":
    main()
