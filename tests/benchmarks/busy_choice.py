"""What `--fuse auto` chooses beside busy processes, against every choice carried out in full beside as many.

python tests/benchmarks/plan.py --busy 2 [--tries 20] [--rounds 3] [--models 12] [--size 104000] [--epochs 100]

The truth first: each size of group is trained from command to exit, in turn, the busy loops running all the time. Then
a run with `--fuse auto` is started `--tries` times, each time with nothing remembered, and ended as soon as it has said
what it chose. To reach: the chosen size within 20 % of the best, 18 of 20 tries.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ui_support import FORGE_TUI, folder, machine

from forge_tui.runner.run_planner import group_sizes

_WORKERS = 2
_NEAR = 1.2
_SILENT: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
_GROUP = re.compile(r"(\d+) models? per worker")


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that do nothing but take a CPU, at the usual priority."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def measure(options: argparse.Namespace) -> None:
    """Measure what each size takes, then what is chosen, and print both."""
    print(f"{machine()}; {options.busy} busy loops; {options.models} models of {options.size:,} parameters")
    taken: dict[int, list[float]] = {}
    with folder() as home, busy_loops(options.busy):
        for _ in range(options.rounds):
            for size in group_sizes(options.models, _WORKERS):
                taken.setdefault(size, []).append(_whole_run(options, home, size))
        chosen = Counter(_choice(options, home) for _ in range(options.tries))
    medians = {size: statistics.median(seconds) for size, seconds in taken.items()}
    best = min(medians.values())
    print(f"{'models per worker':>16}{'seconds':>10}{'of the best':>13}{'chosen':>8}")
    for size, seconds in sorted(medians.items()):
        print(f"{size:16}{seconds:10.2f}{seconds / best:12.2f}x{chosen[size]:8}")
    near = sum(count for size, count in chosen.items() if medians[size] <= _NEAR * best)
    print(f"within 20 % of the best: {near} of {options.tries} tries")


def _whole_run(options: argparse.Namespace, home: Path, size: int) -> float:
    begun = time.perf_counter()
    subprocess.run(_command(options, home / "run", "--fuse", size), check=True, env=_environment(home), **_SILENT)
    seconds = time.perf_counter() - begun
    shutil.rmtree(home / "run")
    return seconds


def _choice(options: argparse.Namespace, home: Path) -> int:
    """How many models per worker a run chooses that remembers nothing."""
    shutil.rmtree(home / "state", ignore_errors=True)
    command = _command(options, home / "run", "--json")
    run = subprocess.Popen(command, text=True, env=_environment(home), **_SILENT | {"stdout": subprocess.PIPE})
    assert run.stdout is not None
    found = None
    for line in run.stdout:
        event = json.loads(line)
        if event["event"] == "decision" and event["kind"] == "group":
            found = _GROUP.match(event["reason"])
            break
    subprocess.run([*FORGE_TUI, "kill", str(home / "run")], check=False, env=_environment(home), **_SILENT)
    run.stdout.close()
    run.wait()
    shutil.rmtree(home / "run")
    if found is None:
        raise SystemExit("the run did not say how many models a worker trains")
    return int(found[1])


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "FORGE_TUI_STATE": str(home / "state")}


def _command(options: argparse.Namespace, run: Path, *words: object) -> Sequence[str]:
    command = [
        *FORGE_TUI, "--no-ui", "--mode", "parallel", "--workers", _WORKERS, "--policy", "dedicated", "--threads", 1,
        "--models", options.models, "--model-size", options.size, "--epochs", options.epochs,
        "--set", f"data.samples={options.samples}", "--set", "data.features=64", "--set", "data.classes=10",
        "--output", run, *words,
    ]  # fmt: skip
    return [str(part) for part in command]
