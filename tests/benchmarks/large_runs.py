"""What a run of 100, 1,000 and 10,000 models costs, and what 1,000 known runs cost: prints two tables.

python tests/benchmarks/large_runs.py [--models 100,1000,10000] [--fuse 50] [--known 10,1000] [--rounds 3]

Models: real runs from command to exit in groups of 50, a tiny planner each, one epoch. Begun: from the command until
the first model is in training. A model: from then until the last is done, divided by their number. Runner: the most
memory that its process has had; batch mode: the same of the command itself. The commands look at the run when it has
ended. Known runs: finished runs of three models, listed, attached to without a name, shown as the screen Runs, and a
small run started beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from ui_support import FORGE_TUI, Terminal, folder, machine, own_state

from forge_tui.client.run import Run
from forge_tui.protocol.events import RunFinished
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import registry
from forge_tui.runs.layout import RunDirectory, model_name
from forge_tui.runs.store import RunStore

_POLL_SECONDS = 0.1
_SELECTED = re.compile(r"> cognate\S*_\d+")
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
_TINY = ("--preset", "dedicated", "--threads", 1, "--model-size", 1_000, "--epochs", 1, "--batch-size", 32)
_DATA = ("data.samples=64", "data.features=8", "data.classes=4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What carrying out a run of many models took. Seconds, bytes."""

    begun: float
    a_model: float
    end: float
    runner: int
    batch: int


def carry_out(directory: Path, models: int, fuse: int, workers: int, home: Path) -> Carried:
    """A real run, from the command to its exit."""
    command = [
        *FORGE_TUI, "--no-ui", *_TINY, "--workers", workers, "--models", models, "--fuse", fuse, "--output", directory,
        *(part for setting in _DATA for part in ("--set", setting)),
    ]  # fmt: skip
    peaks: dict[str, int] = {"runner": 0, "batch": 0}
    begun = time.time()
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command], env=_environment(home), stdout=output, stderr=output
        )
        runner: int | None = None
        while process.poll() is None:
            runner = runner or next((child.pid for child in psutil.Process(process.pid).children()), None)
            for name, pid in (("batch", process.pid), ("runner", runner)):
                peaks[name] = max(peaks[name], _peak(pid))
            time.sleep(_POLL_SECONDS)
    exited = time.time()
    if process.returncode:
        raise SystemExit(f"{command} exits {process.returncode}:\n{(home / 'output').read_text()[-2_000:]}")
    with Run(directory) as run:
        states = run.snapshot().models
    first = min(state.started for state in states if state.started is not None)
    last = max(state.finished for state in states if state.finished is not None)
    return Carried(
        begun=first - begun, a_model=(last - first) / models, end=exited - last, runner=peaks["runner"],
        batch=peaks["batch"],
    )  # fmt: skip


def _peak(pid: int | None) -> int:
    """The most resident memory that a process has had, in bytes; 0 where there is none."""
    with contextlib.suppress(OSError):
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
        return int(found[1]) * 1024 if found else 0
    return 0


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, **own_state(home)}


def command_seconds(home: Path, *arguments: object) -> float:
    """How long a command takes, from start to exit."""
    begun = time.perf_counter()
    with (home / "output").open("wb") as output:
        done = subprocess.run(
            [*FORGE_TUI, *(str(part) for part in arguments)], env=_environment(home), stdout=output, stderr=output,
            cwd=home, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{arguments} exits {done.returncode}:\n{(home / 'output').read_text()[-2_000:]}")
    return time.perf_counter() - begun


def attach(home: Path, *arguments: object, then: str | None = None) -> tuple[float, float, float]:
    """Seconds until the run's models stand on the screen; with the key `then`, until the newest run does; MB."""
    with Terminal((*FORGE_TUI, "attach", *(str(part) for part in arguments)), 120, 40, home) as terminal:
        terminal.wait_for_screen(_SELECTED.search, "a selected model")
        seconds, listed = terminal.first(_SELECTED.search).seconds, 0.0
        if then is not None:
            pressed = terminal.send(then)
            terminal.wait_for_screen(_lists_runs, "the list of runs")
            listed = terminal.first(_lists_runs).seconds - pressed
        return seconds, listed, terminal.rss_mb()


def _lists_runs(text: str) -> bool:
    return len(re.findall(r"known-\d{5}", text)) > 1


def size_of(directory: Path) -> int:
    """Bytes on the disk of a directory's files."""
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def known_run(home: Path, number: int) -> None:
    """A finished run of three models, as a runner leaves it, in the list of runs of `home`."""
    directory = RunDirectory(home / "runs" / f"known-{number:05}")
    directory.create()
    created = time.time() - 86_400 + number
    info = RunInfo(
        run=directory.id, path=str(directory.path), mode="parallel", policy="shared", model_type="planner", models=3,
        epochs=10, created=created, started=created, workers=3, requested=3, limit_reason="as requested",
        host=platform.node(), threads=1, device="cpu",
    )  # fmt: skip
    models = [
        ModelState(
            name=model_name("planner", index), index=index, seed=index, epochs=10, epoch=10, metrics={"loss": 0.5},
            best_loss=0.5, phase=TrainingPhase.COMPLETED, parameters=100_000, device="cpu", threads=1,
            started=created, finished=created + 60,
        )
        for index in (1, 2, 3)
    ]  # fmt: skip
    store = RunStore.create(directory.database, info, models)
    store.append(RunFinished(time=created + 60, status=RunState.COMPLETED, seconds=60.0, models=[]))
    store.put_run(replace(info, state=RunState.COMPLETED, finished=created + 60))
    store.close()
    state = home / "state" / "forge-tui"
    registry.register(info, state)
    registry.finished(directory.path, RunState.COMPLETED, created + 60, state)


def measure_models(options: argparse.Namespace) -> dict[str, list[float]]:
    """A column of figures for each number of models."""
    columns: dict[str, list[float]] = {}
    for models in _numbers(options.models):
        with folder() as home:
            directory = home / "run"
            carried = carry_out(directory, models, options.fuse, options.workers, home)
            attached = [attach(home, directory) for _ in range(options.rounds)]
            columns[f"{models:,}"] = [
                carried.begun,
                1e3 * carried.a_model,
                carried.end,
                carried.runner / 1e6,
                carried.batch / 1e6,
                (directory / "run.db").stat().st_size / models / 1e3,
                size_of(directory) / models / 1e3,
                *(
                    _median(lambda told=(*told, directory): command_seconds(home, *told), options.rounds)
                    for told in (("status",), ("status", "--json"), ("report",), ("report", "--json"))
                ),
                statistics.median(seconds for seconds, _, _ in attached),
                statistics.median(megabytes for _, _, megabytes in attached),
            ]
    return columns


_OF_MODELS = (
    "begun, s", "a model, ms", "end, s", "runner, MB", "batch mode, MB", "run.db, KB a model", "directory, KB a model",
    "status, s", "status --json, s", "report, s", "report --json, s", "attach, s", "attached, MB",
)  # fmt: skip


def measure_known(options: argparse.Namespace) -> dict[str, list[float]]:
    """A column of figures for each number of known runs."""
    columns: dict[str, list[float]] = {}
    for count in _numbers(options.known):
        with folder() as home:
            for number in range(count):
                known_run(home, number)
            attached = [attach(home, then="3") for _ in range(options.rounds)]
            columns[f"{count:,}"] = [
                _median(lambda: command_seconds(home, "runs"), options.rounds),
                _median(lambda: command_seconds(home, "runs", "--json"), options.rounds),
                _median(lambda count=count: command_seconds(home, "status", f"known-{count - 1:05}"), options.rounds),
                statistics.median(seconds for seconds, _, _ in attached),
                statistics.median(listed for _, listed, _ in attached),
                statistics.median(megabytes for _, _, megabytes in attached),
                _median(lambda: command_seconds(home, "--no-ui", "--models", 1, *_TINY), options.rounds),
            ]
    return columns


_OF_KNOWN = (
    "runs, s", "runs --json, s", "status by name, s", "attach to the newest, s", "then 3: the list, s", "attached, MB",
    "a run of one model, s",
)  # fmt: skip


def _median(measured: Callable[[], float], rounds: int) -> float:
    return statistics.median(measured() for _ in range(rounds))


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def _print(title: str, names: Sequence[str], columns: dict[str, Iterable[float]]) -> None:
    print(f"{title:28}" + "".join(f"{column:>12}" for column in columns))
    for name, *values in zip(names, *columns.values(), strict=True):
        print(f"{name:28}" + "".join(f"{value:12.2f}" for value in values))
    print()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="100,1000,10000", help="models of a run, several to compare; '' for none")
    parser.add_argument("--known", default="10,1000", help="known runs, several to compare; '' for none")
    parser.add_argument("--fuse", type=int, default=50, help="models a group")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="times that each command is measured")
    options = parser.parse_args()
    print(f"{machine()}; medians of {options.rounds}")
    if options.models:
        _print(f"models, groups of {options.fuse}", _OF_MODELS, measure_models(options))
    if options.known:
        _print("known runs", _OF_KNOWN, measure_known(options))


if __name__ == "__main__":
    main()
