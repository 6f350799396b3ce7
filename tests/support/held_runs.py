"""Runs of training functions that are killed at random points: what continues must end as if nothing had happened.

A function calls `hold(trial, kills, epoch, step)` at every step. At the points of the file `kills` it says so by a file
and waits to be killed: no test depends on how long anything takes.
"""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

from running import begin, forge, has_ended, kill_all, processes_of, wait_until, weights

HOLD = """
import json
import time
from pathlib import Path


def hold(trial, kills, epoch, step):
    if not kills:
        return
    points = json.loads(Path(kills).read_text())[str(trial.index)]
    place = Path(kills).parent
    number = len(list(place.glob(f"held-{trial.index}-*")))
    if points[number : number + 1] == [[epoch, step]]:
        (place / f"held-{trial.index}-{number}").touch()
        while True:
            time.sleep(0.01)
            trial.should_stop
"""
"""Code for a training function's file; its parameter `kills` is the file with points, or empty."""
MODELS, POINTS = 3, 2
RUN = ("--no-ui", "--policy", "dedicated", "--threads", "1", "--models", str(MODELS), "--mode", "parallel",
       "--set", "run.max_retries=9")  # fmt: skip


def draw_points(seed: int, epochs: int, steps: int) -> dict[str, list[list[int]]]:
    """For each model points (epoch, step), from 1, in their order; drawn from `seed`."""
    generator = random.Random(seed)
    print(f"points are drawn with the seed {seed}")
    every = [[epoch, step] for epoch in range(1, epochs + 1) for step in range(1, steps + 1)]
    return {str(index): sorted(generator.sample(every, POINTS)) for index in range(1, MODELS + 1)}


def run_twice(place: Path, *run: str, seed: int, epochs: int, steps: int) -> tuple[Path, Path]:
    """Carry out `run` undisturbed, and again with every worker killed once, then all processes, then `resume`.

    Returns both run directories; asserts that weights, and what every epoch reported, are the same bytes.
    """
    whole, broken, points = place / "whole", place / "broken", draw_points(seed, epochs, steps)
    kills = place / "kills.json"
    kills.write_text(json.dumps(points), encoding="utf-8")
    arguments = (*RUN, *run, "--epochs", str(epochs))
    forge(*arguments, "--output", whole, cwd=place)
    process = begin(*arguments, "--set", f"model.kills={kills}", "--output", broken, cwd=place)
    try:
        process = _kill_at_points(process, whole, broken)
        said, problem = process.communicate(timeout=240)
        assert process.returncode == 0, said + problem
    finally:
        kill_all(processes_of(broken))
        process.kill()
        process.communicate()
    assert len(weights(whole)) == MODELS
    assert weights(broken) == weights(whole)
    for name in weights(whole):
        before, after = record_of(whole, name), record_of(broken, name)
        assert (before["exact"], after["exact"]) == (True, True)
        assert reported(after) == reported(before)
        assert [row["epoch"] for row in before["history"]] == list(range(1, epochs + 1))
    return whole, broken


def _kill_at_points(process: subprocess.Popen[str], whole: Path, broken: Path) -> subprocess.Popen[str]:
    """Kill each model's worker at its points; at the third point of all, the whole run, which is then resumed.

    Returns the process that follows the run now.
    """
    place, done = broken.parent, set[str]()
    is_resumed = False

    def newly_held() -> str | None:
        assert process.poll() is None, process.communicate()
        return next((path.name for path in sorted(place.glob("held-*")) if path.name not in done), None)

    while len(done) < MODELS * POINTS:
        held = wait_until(newly_held, "a model holds at a point")
        if len(done) >= 2 and not is_resumed:
            is_resumed = True
            kill_all(processes_of(broken))
            wait_until(lambda: has_ended(broken), "all processes are gone")
            done |= {path.name for path in place.glob("held-*")}
            process.communicate()
            process = begin("resume", broken, "--no-ui", cwd=place)
        else:
            kill_all(processes_of(broken, _name(whole, held.split("-")[1])))
            done.add(held)
    return process


def _name(directory: Path, index: str) -> str:
    """The name of a model of a finished run."""
    return next(Path(name).stem for name in weights(directory) if name.endswith(f"_{index}.safetensors"))


def record_of(directory: Path, name: str) -> dict[str, Any]:
    """The metadata beside the weights `name`."""
    record: dict[str, Any] = json.loads((directory / name).with_suffix(".json").read_bytes())
    return record


def reported(record: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """What each epoch of a model reported."""
    return [(row["epoch"], row["metrics"]) for row in record["history"]]
