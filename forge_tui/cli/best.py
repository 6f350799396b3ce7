"""`best RUN`: the path of the best model of a run."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from forge_tui.errors import ForgeError, RunDirectoryError
from forge_tui.protocol.metrics import old_keys
from forge_tui.safe_io.printing import answer, say

if TYPE_CHECKING:
    from pathlib import Path

    from forge_tui.analysis.ranking import Best
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.runs.layout import RunDirectory


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="run directory, name or run id; without it the newest")
    parser.add_argument("--json", action="store_true", help="as JSON, with the reason and the model's state")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Print the best model's path without `.json` or `.safetensors`; fails if no model is completed.

    For a model without weights it is the directory of its training function.
    """
    from forge_tui import client

    with client.attach(arguments.run) as attached:
        snapshot, directory = attached.snapshot(), attached.directory
    best = require_best(directory.id, snapshot)
    _check_files(directory, best.model)
    path = str(_path(directory, best.model))
    answer(json.dumps(_record(best, snapshot, directory)) if arguments.json else path)
    unfinished = sum(1 for model in snapshot.models if not model.phase.is_final)
    if snapshot.state.is_live and unfinished:
        say(f"warning: {unfinished} of {len(snapshot.models)} models may still become better")
    for problem in snapshot.problems:
        say(f"warning: {problem}")
    return 0


def require_best(run: str, snapshot: Snapshot) -> Best:
    """The best model of a run. Raises `ForgeError` with what to do if no model is completed."""
    from forge_tui.analysis.ranking import best_model, require_completed

    require_completed(run, snapshot)
    best = best_model(snapshot)
    if best is None:
        raise ForgeError(f"run {run}: no completed model has a finite loss; `forge-tui status {run}` shows them")
    return best


def _record(best: Best, snapshot: Snapshot, directory: RunDirectory) -> dict[str, Any]:
    about = best.to_record()
    return {
        "run": directory.id,
        "state": snapshot.state.value,
        "path": str(_path(directory, best.model)),
        **{key: about[key] for key in ("metric", "value", "goal", "best_is")},
        "completed": snapshot.completed,
        "models": len(snapshot.models),
        "model": {**best.model.to_record(), **old_keys(best.model.metrics)},
    }


def _path(directory: RunDirectory, model: ModelState) -> Path:
    return directory.stem(model.name) if model.has_weights else directory.files(model.name)


def _check_files(directory: RunDirectory, model: ModelState) -> None:
    needed = (directory.json(model.name), *([directory.weights(model.name)] if model.has_weights else []))
    missing = [path for path in needed if not path.exists()]
    if missing:
        raise RunDirectoryError(
            f"{model.name} is the best model of run {directory.id}, but {missing[0]} is missing; "
            "copy it back, or train the run again"
        )
