"""What one more model costs where its training costs nothing, in a fresh process each: prints a table.

python tests/benchmarks/one_more_model.py [--rounds 3] [--few 4] [--many 24]

A run of many models less one of few, by the models between them: starting the process, loading the data, building the
model, one step, and writing its files. The peer is a process that Python's `multiprocessing` spawns for each model and
that trains the same network for the same step and saves its weights (one file, and no wait for the disk; `forge-tui`
writes a checkpoint, the weights and the metadata, each synced to the disk).

`forge-tui` trains one model at a time here, so `between` is how long a place was empty: from the end of a worker's last
model until the next one's first event. `start to start` is the same cost seen from within a run, free of what the start
and the end of a whole run vary by.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from ui_support import FORGE_TUI, folder, machine

SIZE, SAMPLES, BATCH = 1_000, 64, 64


def main() -> None:
    """Measure in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=4)
    parser.add_argument("--many", type=int, default=24)
    parser.add_argument("--spawn", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.spawn is not None:
        _spawn(options.spawn)
        return
    told, extra = machine(), options.many - options.few
    ours, theirs, between, apart = [], [], [], []
    with folder() as home:
        for number in range(options.rounds):
            few, _, _ = _run(home / f"few-{number}", options.few)
            many, gaps, starts = _run(home / f"many-{number}", options.many)
            ours.append(1000 * (many - few) / extra)
            between += gaps
            apart += [later - earlier for earlier, later in pairwise(starts)]
            few, many = _spawned(home, options.few), _spawned(home, options.many)
            theirs.append(1000 * (many - few) / extra)
    print(f"{told}; {options.few} and {options.many} models of {SIZE:,} parameters, median of {options.rounds}")
    print(f"{'':<24}{'one more model, ms':>20}{'ratio':>8}")
    first = statistics.median(ours)
    for name, found in (("forge-tui", ours), ("multiprocessing spawn", theirs)):
        middle = statistics.median(found)
        print(f"{name:<24}{middle:20.0f}{middle / first:8.1f}")
    print(f"between two models of forge-tui: median {1000 * statistics.median(between):.0f} ms, ", end="")
    print(f"longest {1000 * max(between):.0f} ms; start to start: median {1000 * statistics.median(apart):.0f} ms")


def _run(output: Path, models: int) -> tuple[float, list[float], list[float]]:
    """Seconds of the whole command, those between each model's end and the next one's first event, and the starts."""
    command = [
        *FORGE_TUI, "--no-ui", "--json", "--policy", "dedicated", "--threads", 1, "--models", models, "--epochs", 1,
        "--model-size", SIZE, "--batch-size", BATCH, "--output", output, "--set", f"data.samples={SAMPLES}",
        "--set", "data.validation_fraction=0.0",
    ]  # fmt: skip
    begun = time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - begun
    ended: float | None = None
    gaps, starts = [], []
    for line in done.stdout.splitlines():
        event = json.loads(line)
        if event["event"] == "model_completed":
            ended = event["time"]
        elif event["event"] == "phase_changed" and event["phase"] == "initializing":
            starts.append(event["time"])
            if ended is not None:
                gaps.append(event["time"] - ended)
    return seconds, gaps, starts


def _spawned(home: Path, models: int) -> float:
    command = [sys.executable, __file__, "--spawn", str(models)]
    begun = time.perf_counter()
    subprocess.run(command, cwd=home, check=True)
    return time.perf_counter() - begun


def _spawn(models: int) -> None:
    context = multiprocessing.get_context("spawn")
    for seed in range(models):
        process = context.Process(target=_train, args=(seed,))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"the peer's process ended with {process.exitcode}")


def _train(seed: int) -> None:
    import torch
    from torch import nn

    from forge_tui.settings.schema import DataSettings, Settings
    from forge_tui.training.data.synthetic import synthetic_dataset
    from forge_tui.training.models.build import build_model

    data = synthetic_dataset(Settings(data=DataSettings(samples=SAMPLES, validation_fraction=0.0)))
    torch.manual_seed(seed)
    model = build_model("planner", SIZE, data.inputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    nn.CrossEntropyLoss()(model(data.train_inputs), data.train_targets).backward()
    optimizer.step()
    torch.save(model.state_dict(), f"spawned-{seed}.pt")


if __name__ == "__main__":
    main()
