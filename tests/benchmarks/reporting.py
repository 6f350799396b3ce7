"""What `trial.report` costs a plain loop: blocks of epochs with a report after each, and without, in turn.

python tests/benchmarks/reporting.py [--pairs 40] [--epochs 30] [--steps 20] [--size 256]

The loop trains a perceptron on made data with one thread, as a training function in a real run that a batch front end
follows. Both kinds of blocks are in one process, because on a shared machine two processes with the same loop differ by
more than a report costs. Speed is epochs over wall time. Prints quartiles of both sides, and of the ratio of a pair.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess

from ui_support import FORGE_TUI, folder, machine, own_state

LOOP = """
import json, os, time
from pathlib import Path
import torch

PAIRS, EPOCHS, STEPS, SIZE = (int(os.environ[f"LOOP_{name}"]) for name in ("PAIRS", "EPOCHS", "STEPS", "SIZE"))

def train(trial):
    model = torch.nn.Sequential(torch.nn.Linear(64, SIZE), torch.nn.ReLU(), torch.nn.Linear(SIZE, 10))
    optimizer = torch.optim.Adam(model.parameters())
    inputs, targets = torch.randn(64 * STEPS, 64), torch.randint(10, (64 * STEPS,))
    def epoch():
        total = 0.0
        for start in range(0, len(inputs), 64):
            loss = torch.nn.functional.cross_entropy(model(inputs[start:start + 64]), targets[start:start + 64])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / STEPS
    def block(reports):
        started = time.perf_counter()
        for _ in range(EPOCHS):
            loss = epoch()
            if reports:
                trial.report(loss=loss)
        return EPOCHS / (time.perf_counter() - started)
    block(True)  # warm: neither side pays for first steps
    pairs = []
    for number in range(PAIRS):
        first = block(number % 2 == 1)
        second = block(number % 2 == 0)
        pairs.append((second, first) if number % 2 == 0 else (first, second))
    Path(os.environ["LOOP_RESULT"]).write_text(json.dumps(pairs))
"""


def main() -> None:
    """Print the quartiles of both sides, and of their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=30, help="epochs per block")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps per epoch")
    parser.add_argument("--size", type=int, default=256, help="hidden units")
    given = parser.parse_args()
    print(machine())
    with folder() as home:
        script, result = home / "loop.py", home / "speeds.json"
        script.write_text(LOOP, encoding="utf-8")
        sizes = {name: str(getattr(given, name.lower())) for name in ("PAIRS", "EPOCHS", "STEPS", "SIZE")}
        environment = {**os.environ, **own_state(home), **{f"LOOP_{name}": size for name, size in sizes.items()}}
        epochs = (given.pairs + 1) * given.epochs
        subprocess.run(
            [
                *FORGE_TUI, "--no-ui", "--train", str(script), "--models", "1", "--epochs", str(epochs),
                "--threads", "1", "--preset", "dedicated", "--output", str(home / "run"),
            ],
            env=environment | {"LOOP_RESULT": str(result)}, check=True, capture_output=True,
        )  # fmt: skip
        pairs = json.loads(result.read_text())
    sides = {
        "with report, epochs/s": [reported for reported, _ in pairs],
        "without, epochs/s": [alone for _, alone in pairs],
        "ratio of a pair": [reported / alone for reported, alone in pairs],
    }
    for name, values in sides.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"{name:22} median {middle:8.3f}   quartiles {low:8.3f} {high:8.3f}")


if __name__ == "__main__":
    main()
