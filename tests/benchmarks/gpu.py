"""What one GPU gives: speed alone and in groups, the bytes of a resume, a full memory. Takes at most 5 minutes.

python tests/benchmarks/gpu.py [--device cuda] [--quick] [--only speed resume memory]

`speed`: training steps of all models a second, of a planner with 9,000 and with 104,000 parameters and of a small
Transformer (`reasoner`), on 640 samples of 64 features in batches of 32: a plain loop with Adam, the same compiled by
`torch.compile`, and compiled with CUDA graphs (`reduce-overhead`), against one of our models and groups of 10, 100 and
1,000. `use` is the GPU's, as the driver counts it; `GiB` the peak that torch has reserved. Clocks wait for the GPU.
Before that: what a process takes of the GPU without any tensor, which `resources/policy.py` assumes (CONTEXT_BYTES).

`resume`: a run that is killed and resumed, against one that is not: the same bytes, or not.

`memory`: two models that each allocate 60 % of the GPU once they are measured with 2 %: who is started, what fails, and
whether both are completed.

Without a GPU `--device cpu --quick --only speed resume` tries the script itself.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forge_tui.client.run import Run
from forge_tui.protocol.job import Job
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig, to_plain
from forge_tui.training.data.synthetic import synthetic_dataset
from forge_tui.training.models.build import build_model
from forge_tui.training.process import prepare_process, synchronize
from forge_tui.worker.inspection import Probe

FORGE_TUI = [sys.executable, "-P", "-m", "forge_tui"]
SAMPLES, BATCH = 640, 32
MODELS = (("planner", 9_000), ("planner", 104_000), ("reasoner", 104_000))
GROUPS = (1, 10, 100, 1_000)
DATA = DataSettings(samples=SAMPLES, validation_fraction=0.0, normalise=False)
FILLS = '''
import time

import torch


def train(trial):
    """Take 2 % of the GPU, and from the second epoch on 60 %."""
    total = torch.cuda.get_device_properties(0).total_memory
    held = [torch.empty(total // 50, dtype=torch.uint8, device=trial.device).fill_(1)]
    for epoch in range(1, trial.epochs + 1):
        trial.report({}, loss=1 / epoch, epoch=epoch)
        time.sleep(5)
        if len(held) == 1:
            held.append(torch.empty(total * 6 // 10, dtype=torch.uint8, device=trial.device).fill_(1))
            torch.cuda.synchronize()
'''


def main() -> int:
    """Measure, and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="shorter, and without the largest groups")
    parser.add_argument(
        "--only", nargs="+", choices=("speed", "resume", "memory"), default=("speed", "resume", "memory")
    )
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch finds no GPU here; --device cpu --quick --only speed resume tries the script itself")
        return 1
    begun = time.monotonic()
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as place:
        # Runs first: this process's own memory on the GPU counts as others' there.
        if "resume" in options.only:
            resume(Path(place), options)
        if "memory" in options.only:
            memory(Path(place))
    if "speed" in options.only:
        speed(torch.device(options.device), options)
    print(f"\n{time.monotonic() - begun:.0f} s in all")
    return 0


# --- speed


def speed(device: torch.device, options: argparse.Namespace) -> None:
    """Print steps a second of each way to train each model."""
    seconds = 0.3 if options.quick else 2.0
    prepare_process(device)
    if device.type == "cuda":
        print(f"\na process without tensors takes {context_bytes() / 2**30:.2f} GiB of the GPU")
    print(f"\n{'model':<10} {'parameters':>10}  {'way':<26} {'steps/s':>10} {'use':>6} {'GiB':>6}")
    for kind, size in MODELS:
        for way, train in ways(kind, size, device, options):
            if device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            with used_percent(device) as percents:
                try:
                    rate = f"{train(seconds):,.0f}"
                except (RuntimeError, torch.OutOfMemoryError) as error:
                    rate = type(error).__name__
            use = f"{statistics.mean(percents):.0f} %" if percents else "—"
            peak = torch.cuda.max_memory_reserved() / 2**30 if device.type == "cuda" else 0.0
            print(f"{kind:<10} {size:>10,}  {way:<26} {rate:>10} {use:>6} {peak:>6.2f}", flush=True)


def ways(
    kind: str, size: int, device: torch.device, options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[float], float]]]:
    """Each way by name, with a function that trains for so many seconds and returns steps of all models a second."""
    yield "plain loop", lambda seconds: by_hand(kind, size, device, seconds)
    if not options.quick:
        yield "torch.compile", lambda seconds: by_hand(kind, size, device, seconds, mode="default")
        yield "torch.compile, CUDA graphs", lambda seconds: by_hand(kind, size, device, seconds, mode="reduce-overhead")
    for group in GROUPS[:2] if options.quick else GROUPS:
        name = "ours, alone" if group == 1 else f"ours, group of {group:,}"
        yield name, lambda seconds, group=group: by_us(kind, size, device, seconds, group)


def by_hand(kind: str, size: int, device: torch.device, seconds: float, mode: str | None = None) -> float:
    """A loop as people write it, its data on the device."""
    data = synthetic_dataset(Settings(data=DATA))
    torch.manual_seed(0)
    model: Any = build_model(kind, size, data.inputs).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    if mode is not None:
        model = torch.compile(model, mode=mode)
    criterion = nn.CrossEntropyLoss()
    inputs, targets = data.train_inputs.to(device), data.train_targets.to(device)  # type: ignore[union-attr]

    def train(limit: float) -> float:
        synchronize(device)
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < limit:
            for rows in torch.randperm(SAMPLES, device=device).split(BATCH):
                optimizer.zero_grad()
                criterion(model(inputs[rows]), targets[rows]).backward()
                optimizer.step()
                done += 1
        synchronize(device)
        return done / (time.perf_counter() - begun)

    train(0.0)  # compiles, and loads kernels
    train(seconds / 2)
    return train(seconds)


def by_us(kind: str, size: int, device: torch.device, seconds: float, group: int) -> float:
    """Our trainer's steps, as `plan` measures them."""
    training = TrainingConfig(model_type=kind, model_size=size, batch_size=BATCH)
    job = Job(
        run="run", directory=".", working_directory=".", model="m", index=1, attempt=1, seed=0,
        settings=to_plain(Settings(training=training, data=DATA)), threads=1, device=device.type,
    )  # fmt: skip
    (way,) = Probe(job).measure([(group, 1, False)], seconds, float("inf")).ways
    return way.steps_per_second


@contextlib.contextmanager
def used_percent(device: torch.device) -> Iterator[list[float]]:
    """The GPU's use while inside, ten times a second; empty on the CPU, and where the driver does not tell."""
    found: list[float] = []
    if device.type != "cuda":
        yield found
        return
    is_over = threading.Event()
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"

    def look() -> None:
        import pynvml

        pynvml.nvmlInit()
        with contextlib.suppress(pynvml.NVMLError):
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            while not is_over.wait(0.1):
                found.append(float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()


def context_bytes() -> int:
    """What the GPU has less, free, when another process has run a product there, and freed it."""
    code = (
        "import sys, torch\n"
        "a = torch.ones(64, 64, device='cuda'); (a @ a).sum().item(); del a; torch.cuda.empty_cache()\n"
        "print(flush=True); sys.stdin.read()\n"
    )
    before = torch.cuda.mem_get_info()[0]
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        taken = before - torch.cuda.mem_get_info()[0]
        other.communicate()
    return taken


# --- whole runs


def forge(*arguments: object, cwd: Path) -> None:
    """Carry out `forge-tui ARGUMENTS`."""
    subprocess.run([*FORGE_TUI, *map(str, arguments)], cwd=cwd, check=False, capture_output=True)


def resume(place: Path, options: argparse.Namespace) -> None:
    """Kill a run in the middle, resume it, and compare its models with those of a run that was not killed."""
    print("\nresume")
    given = ("--no-ui", "--device", options.device, "--models", 2, "--epochs", 60 if options.quick else 200,
             "--threads", 1, "--fuse", 1, "--checkpoint-interval", 5, "--policy", "dedicated")  # fmt: skip
    forge(*given, "--output", "whole", cwd=place)
    forge(*given, "--detach", "--output", "killed", cwd=place)
    with Run(place / "killed") as run:
        while max(model.epoch for model in run.snapshot().models) < 10 and run.snapshot().state.is_live:
            time.sleep(0.01)
        epoch = max(model.epoch for model in run.snapshot().models)
        runner = run.snapshot().run.runner
        assert runner is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(runner, signal.SIGKILL)
    forge("resume", "killed", "--no-ui", cwd=place)
    for number in (1, 2):
        name = f"cognate_planner_{number}"
        digests = [
            hashlib.sha256((place / run / f"{name}.safetensors").read_bytes()).hexdigest()[:12]
            for run in ("whole", "killed")
        ]
        exact = json.loads((place / "killed" / f"{name}.json").read_bytes())["exact"]
        same = "the same bytes" if digests[0] == digests[1] else "other bytes"
        print(f"  {name}: killed in epoch {epoch} and resumed: {same} ({' '.join(digests)}), exact: {exact}")


def memory(place: Path) -> None:
    """Two models that fill a GPU together: what the run decides, what fails, and how both end."""
    print("\nmemory")
    (place / "fills.py").write_text(FILLS, encoding="utf-8")
    forge("--no-ui", "--train", "fills.py:train", "--models", 2, "--epochs", 4, "--mode", "parallel", "--workers", 2,
          "--policy", "dedicated", "--output", "full", cwd=place)  # fmt: skip
    with Run(place / "full") as run:
        for event in run.events_of(["decision", "model_failed"]):
            words = event.get("reason") or f"{event['model']} failed ({event['kind']}): {event['message'][:160]}"
            if event.get("kind") in ("place", "hold", "shrink", "out_of_memory"):
                print(f"  {words}")
        snapshot = run.snapshot()
        print(f"  run {snapshot.state}; attempts {[model.attempt for model in snapshot.models]}")


if __name__ == "__main__":
    sys.exit(main())
