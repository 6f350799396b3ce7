"""What a short command costs beside its own time: forge-tui, task-spooler and GNU parallel in turn, where installed.

python tests/benchmarks/commands.py [--commands 500] [--workers 2] [--rounds 3]

Each command prints one line of JSON. Wall-clock time from the start of the tool until its last command has ended, and
per command beyond its own: that time over the number of commands, less the time of the command alone over the workers.
Only forge-tui reads the line, and records state, output, memory and metrics of each.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ui_support import FORGE_TUI, folder, machine, own_state

COMMAND = ("sh", "-c", 'echo "{\\"loss\\": 0.5}"')
_POLL_SECONDS = 0.02


def run(words: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a program without output; a failure ends the benchmark."""
    whole = None if environment is None else {**os.environ, **environment}
    subprocess.run(words, check=True, env=whole, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def alone(commands: int) -> float:
    """Seconds of the command itself, started directly."""
    begun = time.perf_counter()
    for _ in range(commands):
        run(list(COMMAND))
    return (time.perf_counter() - begun) / commands


def forge_tui(commands: int, workers: int, home: Path) -> None:
    """One run of as many models."""
    words = [
        *FORGE_TUI, "--no-ui", "--policy", "dedicated", "--mode", "parallel", "--workers", workers,
        "--models", commands, "--parse", "json", "--output", home / "run", "--", *COMMAND,
    ]  # fmt: skip
    run([str(word) for word in words], own_state(home))


def task_spooler(commands: int, workers: int, home: Path) -> None:
    """A queue of its own, with as many slots; what it prints goes to files, as by default."""
    mine = {"TS_SOCKET": str(home / "socket"), "TMPDIR": str(home)}
    run(["tsp", "-S", str(workers)], mine)
    try:
        for _ in range(commands):
            run(["tsp", *COMMAND], mine)
        while any(word in _listed(mine) for word in ("queued", "running")):
            time.sleep(_POLL_SECONDS)
    finally:
        run(["tsp", "-K"], mine)


def _listed(mine: Mapping[str, str]) -> str:
    return subprocess.run(["tsp"], env={**os.environ, **mine}, capture_output=True, text=True, check=True).stdout


def gnu_parallel(commands: int, workers: int, home: Path) -> None:
    """The commands as lines on stdin; output is kept in files."""
    lines = "\n".join([shlex.join(COMMAND)] * commands)
    subprocess.run(
        ["parallel", "--will-cite", "-j", str(workers), "--results", str(home / "results")],
        input=lines, text=True, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


TOOLS: dict[str, tuple[str, Callable[[int, int, Path], None]]] = {
    "forge-tui": (FORGE_TUI[0], forge_tui),
    "task-spooler": ("tsp", task_spooler),
    "GNU parallel": ("parallel", gnu_parallel),
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="each tool in turn, this often")
    options = parser.parse_args()
    there = {name: tool for name, (program, tool) in TOOLS.items() if shutil.which(program)}
    seconds: dict[str, list[float]] = {name: [] for name in there}
    own: list[float] = []
    for _ in range(options.rounds):
        own.append(alone(100))
        for name, tool in there.items():
            with folder() as home:
                begun = time.perf_counter()
                tool(options.commands, options.workers, home)
                seconds[name].append(time.perf_counter() - begun)
    print(machine())
    command = statistics.median(own)
    print(f"{options.commands} commands, {options.workers} workers; the command alone: {1e3 * command:.1f} ms\n")
    print(f"{'':<14}{'total':>10}{'per command':>14}{'beyond its own':>17}")
    for name, found in seconds.items():
        total = statistics.median(found)
        each = total / options.commands
        beyond = each - command / options.workers
        print(f"{name:<14}{total:>8.2f} s{1e3 * each:>11.1f} ms{1e3 * beyond:>14.1f} ms")
    for name in TOOLS.keys() - there.keys():
        print(f"{name:<14}not installed")


if __name__ == "__main__":
    main()
