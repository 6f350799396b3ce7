"""What `trial.report` costs a plain loop: the same loop alone, and as a training function in a real run, in turn.

python tests/benchmarks/reporting.py [--pairs 5] [--epochs 300] [--steps 20] [--size 256]

The loop trains a perceptron on made data with one thread and reports the loss of every epoch. Speed is that of the loop
alone, without start and end: epochs over the seconds of its thread's wall time. Prints each pair and the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from ui_support import FORGE_TUI, folder, machine, own_state

LOOP = """
import json, os, sys, time
from pathlib import Path
import torch

EPOCHS, STEPS, SIZE = (int(os.environ[name]) for name in ("LOOP_EPOCHS", "LOOP_STEPS", "LOOP_SIZE"))

def fit(report):
    torch.set_num_threads(1)
    torch.manual_seed(0)
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
    for _ in range(10):
        epoch()  # warm: neither side pays for first steps
    started = time.perf_counter()
    for number in range(1, EPOCHS + 1):
        report(epoch(), number)
    return time.perf_counter() - started

def train(trial):
    seconds = fit(lambda loss, epoch: trial.report(loss=loss, epoch=epoch))
    Path(os.environ["LOOP_RESULT"]).write_text(json.dumps(seconds))

if __name__ == "__main__":
    Path(os.environ["LOOP_RESULT"]).write_text(json.dumps(fit(lambda loss, epoch: None)))
"""


def seconds_of(command: list[object], environment: dict[str, str], result: Path) -> float:
    """Run one side; the seconds of its loop."""
    result.unlink(missing_ok=True)
    subprocess.run([str(part) for part in command], env=environment, check=True, capture_output=True)
    return float(json.loads(result.read_text()))


def main() -> None:
    """Print both sides of every pair, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps per epoch")
    parser.add_argument("--size", type=int, default=256, help="hidden units")
    given = parser.parse_args()
    print(machine())
    with folder() as home:
        script, result = home / "loop.py", home / "seconds.json"
        script.write_text(LOOP, encoding="utf-8")
        sizes = {"LOOP_EPOCHS": given.epochs, "LOOP_STEPS": given.steps, "LOOP_SIZE": given.size, "LOOP_RESULT": result}
        environment = {**os.environ, **own_state(home), **{name: str(value) for name, value in sizes.items()}}
        ours = [*FORGE_TUI, "--no-ui", "--train", script, "--models", 1, "--epochs", given.epochs, "--threads", 1]
        alone, reported = [], []
        for pair in range(given.pairs):
            sides = [
                (alone, [sys.executable, script]),
                (reported, [*ours, "--preset", "dedicated", "--output", home / f"run-{pair}"]),
            ]
            for found, command in sides if pair % 2 == 0 else reversed(sides):
                found.append(given.epochs / seconds_of(command, environment, result))
            print(f"alone {alone[-1]:8.1f} epochs/s   with report {reported[-1]:8.1f}   {reported[-1] / alone[-1]:.3f}")
    left, right = statistics.median(alone), statistics.median(reported)
    print(f"median {left:7.1f} epochs/s   with report {right:8.1f}   {right / left:.3f}")


if __name__ == "__main__":
    main()
