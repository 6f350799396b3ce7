"""What runs that wait (`--after`) cost: starts a chain of them behind a paused run and prints a table.

python tests/benchmarks/waiting.py [--runs 20] [--seconds 20]

Each run waits for the one before it. CPU: user and system time of the runner's process over the seconds that are
measured, after all have settled, in percent of one CPU. Memory: what only this process holds (USS).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from pathlib import Path

import psutil
from ui_support import FORGE_TUI, folder, machine, own_state

from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState

_SETTLE_SECONDS = 5.0
_GIVEN_UP = 120.0
_TINY = ("--preset", "dedicated", "--threads", 1, "--model-size", 1_000, "--epochs", 1_000_000, "--models", 1)


def start(home: Path, name: str, *arguments: object) -> Run:
    """A detached run in `home/name`."""
    command = [*FORGE_TUI, "--no-ui", "--detach", *_TINY, "--output", home / name, *arguments]
    environment = {**os.environ, **own_state(home)}
    subprocess.run(
        [str(part) for part in command],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return Run(home / name)


def wait_for(run: Run, *states: RunState) -> None:
    """Until the run is in one of the states."""
    deadline = time.monotonic() + _GIVEN_UP
    while run.snapshot().state not in states:
        if time.monotonic() > deadline:
            raise SystemExit(f"{run.path} is still {run.snapshot().state}")
        time.sleep(0.1)


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of all threads, to the nanosecond where the kernel tells (`/proc/PID/task/*/schedstat`)."""
    tasks = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
    if not tasks:
        return sum(process.cpu_times()[:2])
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="waiting runs")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each is measured, all at once")
    options = parser.parse_args()
    with folder() as home:
        os.environ.update(own_state(home))
        runs = [start(home, "first")]
        try:
            wait_for(runs[0], RunState.RUNNING)
            runs[0].pause()
            wait_for(runs[0], RunState.PAUSED)
            for number in range(options.runs):
                runs.append(start(home, f"waits-{number + 1:02}", "--after", runs[-1].path))
            time.sleep(_SETTLE_SECONDS)
            waiting = [psutil.Process(run.snapshot().run.runner) for run in runs[1:]]
            before, begun = [cpu_seconds(process) for process in waiting], time.monotonic()
            time.sleep(options.seconds)
            seconds = time.monotonic() - begun
            after = [cpu_seconds(process) for process in waiting]
            cpu = [100 * (late - early) / seconds for early, late in zip(before, after, strict=True)]
            memory = [process.memory_full_info().uss / 2**20 for process in waiting]
            threads = [process.num_threads() for process in waiting]
        finally:
            for run in reversed(runs):
                run.kill()
                run.wait(_GIVEN_UP)
    print(machine())
    print(f"{options.runs} runs that wait, {options.seconds:g} s         median       most")
    for name, values in (("CPU of each, %", cpu), ("USS of each, MiB", memory), ("threads of each", threads)):
        print(f"{name:38}{statistics.median(values):8.3f}   {max(values):8.3f}")


if __name__ == "__main__":
    main()
