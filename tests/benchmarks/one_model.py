"""Steps a second of one model in a real run, against the bare training loop: prints a table.

python tests/benchmarks/one_model.py [--rounds 5] [--epochs 400] [--size 104000] [--account]

A planner of 104,000 parameters, 640 samples of 64 features and 10 classes, batch 32, Adam. The run is started by
`forge-tui`, in series, all CPUs allowed, and chooses its threads itself; `attach` is the same with a UI that watches it
on a pseudo-terminal of 120×40. The bare loop (`training_peers.py`) trains the same module on the same batches, with
each number of threads and with as many as PyTorch takes by itself. `silent` is our trainer in a process of its own
that tells nobody and saves nothing: what the run has less is what durable progress costs.

All sides take turns. Counted is from the end of epoch 40 to the end of the last, with all that lies in between. Ratios
are those of one round, and then the median of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ui_support import FORGE_TUI, Terminal, folder, machine

from forge_tui.client.run import Run
from forge_tui.protocol.job import Job
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig, to_plain

WARM_UP = 40
SAMPLES, BATCH = 640, 32
STEPS = SAMPLES // BATCH
DEFAULT, SILENT = "by hand, as it comes", "silent"
DATA = {"samples": SAMPLES, "validation_fraction": 0.0, "normalise": False}


def rate(ends: Sequence[float]) -> float:
    """Steps a second, from when each epoch ended (seconds)."""
    return STEPS * (len(ends) - WARM_UP) / (ends[-1] - ends[WARM_UP - 1])


def by_us(options: argparse.Namespace, place: Path, *, watched: bool) -> tuple[float, int]:
    """Those of a run, from its own events; and the threads that it chose."""
    directory = place / f"run-{watched}"
    settings = [part for name, value in DATA.items() for part in ("--set", f"data.{name}={json.dumps(value)}")]
    command = [
        *FORGE_TUI, "--no-ui", "--detach", "--mode", "series", "--policy", "dedicated", "--models", 1, "--model-size",
        options.size, "--epochs", options.epochs, "--checkpoint-interval", options.checkpoint_interval,
        "--output", directory, *settings,
    ]  # fmt: skip
    subprocess.run([str(part) for part in command], cwd=place, check=True, capture_output=True)
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(Run(directory))
        if watched:
            terminal = stack.enter_context(Terminal([*FORGE_TUI, "attach", str(directory)], 120, 40, place))
        run.wait()
        if watched and "cognate_planner_1" not in terminal.text():
            raise SystemExit(f"the UI does not show the run:\n{terminal.text()}")
        (model,) = run.snapshot().models
        return rate([epoch.time for epoch in run.history(1)]), model.threads or 0


def bare(options: argparse.Namespace, threads: int | None) -> float:
    """Those of the loop by hand, in a process of its own."""
    return _in_process(options, ["bare", *([] if threads is None else ["--threads", threads])])


def silent(options: argparse.Namespace, threads: int) -> float:
    """Those of our trainer when nobody hears of it."""
    return _in_process(options, ["silent", "--threads", threads])


def _in_process(options: argparse.Namespace, side: list[object]) -> float:
    sizes = ["--size", options.size, "--epochs", options.epochs]
    command = [sys.executable, __file__, *(str(part) for part in ("--side", *side, *sizes))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return rate(json.loads(done.stdout))


def train_bare(options: argparse.Namespace) -> list[float]:
    """Train by hand; when each epoch ended."""
    import training_peers

    ends: list[float] = []
    for _ in training_peers.losses_of(0, options.size, options.epochs, options.threads):
        ends.append(time.perf_counter())
    return ends


def train_silently(options: argparse.Namespace) -> list[float]:
    """Train with our trainer; when each epoch ended."""
    import torch

    from forge_tui.protocol.events import EpochFinished, Event
    from forge_tui.protocol.job import Control
    from forge_tui.training.trainer import Trainer

    torch.set_num_threads(options.threads)
    ends: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, EpochFinished):
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as place:
        Trainer([_job(options, place, options.epochs)], note, Control()).run()
    return ends


def _job(options: argparse.Namespace, place: str, checkpoint_interval: int) -> Job:
    config = TrainingConfig(model_size=options.size, epochs=options.epochs, checkpoint_interval=checkpoint_interval)
    return Job(
        run="run", directory=place, working_directory=place, model="cognate_planner_1", index=1, attempt=1, seed=0,
        settings=to_plain(Settings(training=config, data=DataSettings(**DATA))), threads=options.threads or 1,
        device="cpu",
    )  # fmt: skip


def account(options: argparse.Namespace) -> dict[str, list[float]]:
    """What the training thread loses, in seconds by kind, and those of its epochs, in order."""
    import torch

    from forge_tui.protocol.job import Control
    from forge_tui.training.trainer import Trainer
    from forge_tui.worker import loop
    from forge_tui.worker.memory_meter import MemoryMeter

    torch.set_num_threads(1)
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while theirs.recv(1 << 16):
            pass
        os._exit(0)
    theirs.close()
    found: dict[str, list[float]] = {"events": [], "memory": [], "checkpoints": [], "epochs": []}
    _timed(loop.Channel, "send", found["events"])
    _timed(MemoryMeter, "grown", found["memory"])
    _timed(Trainer, "_checkpoint", found["checkpoints"])
    _timed(Trainer, "_train_epoch", found["epochs"])
    with tempfile.TemporaryDirectory() as place:
        job = _job(options, place, options.checkpoint_interval)
        loop._train(loop.Channel(ours), [job], Control())
    return found


def _timed(owner: type, name: str, seconds: list[float]) -> None:
    """Add up what a method takes in the training thread."""
    method = getattr(owner, name)

    def timed(*arguments: object) -> object:
        begun = time.perf_counter()
        result = method(*arguments)
        if threading.current_thread() is threading.main_thread():
            seconds.append(time.perf_counter() - begun)
        return result

    setattr(owner, name, timed)


def print_account(options: argparse.Namespace) -> None:
    """Measure in a process of its own, several times, and print the parts in percent of an epoch."""
    interval, parts = options.checkpoint_interval, ("events", "memory", "checkpoints", "written beside")
    print(f"{machine()}; one model of {options.size:,} parameters, a checkpoint every {interval} epochs; % of the time")
    print("".join(f"{name:>16}" for name in ("epoch, ms", *parts, "together")))
    for _ in range(options.rounds):
        sizes = ["--size", options.size, "--epochs", options.epochs, "--checkpoint-interval", interval]
        command = [sys.executable, __file__, *(str(part) for part in ("--side", "account", *sizes))]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        warm = found["epochs"][interval * -(-WARM_UP // interval) :]  # the first of them follows a checkpoint
        after = [statistics.median(warm[place::interval]) for place in range(interval)]
        usual = statistics.median(after[interval // 2 :])
        once = {
            "events": statistics.median(found["events"]),
            "memory": statistics.median(found["memory"]),
            "checkpoints": statistics.median(found["checkpoints"]) / interval,
            "written beside": sum(max(0.0, one - usual) for one in after[: interval // 2]) / interval,
        }
        shares = [100 * once[name] / usual for name in parts]
        print(f"{1e3 * usual:16.2f}" + "".join(f"{share:16.2f}" for share in (*shares, sum(shares))))


def main() -> None:
    """Measure in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--size", type=int, default=104_000)
    parser.add_argument("--checkpoint-interval", type=int, default=10)
    parser.add_argument("--account", action="store_true", help="add up what durable progress costs the training thread")
    parser.add_argument("--side", choices=("bare", "silent", "account"), help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        sides = {"bare": train_bare, "silent": train_silently, "account": account}
        print(json.dumps(sides[options.side](options)))
        return
    if options.account:
        print_account(options)
        return
    told = machine()
    counts = [1]
    while 2 * counts[-1] <= len(os.sched_getaffinity(0)):
        counts.append(2 * counts[-1])
    rounds = []
    for _ in range(options.rounds):
        with folder() as place:
            rounds.append(take_turns(options, place, counts))
    by_hand = [name for name in rounds[0] if name.startswith("by hand, ") and name != DEFAULT]
    best = max(by_hand, key=lambda name: statistics.median(found[name] for found in rounds))
    bases = (best, DEFAULT, SILENT)
    print(
        f"{told}; one model of {options.size:,} parameters, {options.epochs} epochs, "
        f"median of {options.rounds} rounds (range)"
    )
    print(f"{'':24}{'steps/s':>24}" + "".join(f"{'/ ' + base:>24}" for base in bases))
    for name in rounds[0]:
        rates = [found[name] for found in rounds]
        spread = f"{statistics.median(rates):.0f} ({min(rates):.0f}–{max(rates):.0f})"
        ratios = [statistics.median(found[name] / found[base] for found in rounds) for base in bases]
        print(f"{name:24}{spread:>24}" + "".join(f"{ratio:24.3f}" for ratio in ratios))


def take_turns(options: argparse.Namespace, place: Path, counts: Sequence[int]) -> dict[str, float]:
    """Steps a second of every side, once each."""
    found = {f"by hand, {count} thread{'s' if count > 1 else ''}": bare(options, count) for count in counts}
    found[DEFAULT] = bare(options, None)
    ours, threads = by_us(options, place, watched=False)
    watched, _ = by_us(options, place, watched=True)
    return {**found, SILENT: silent(options, threads), "forge-tui": ours, "forge-tui, attach open": watched}


if __name__ == "__main__":
    main()
