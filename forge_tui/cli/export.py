"""`export RUN --to TOOL`: a run in TensorBoard, MLflow, Weights & Biases or two CSV tables, once or as it grows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.errors import UsageError
from forge_tui.safe_io.printing import answer, say

if TYPE_CHECKING:
    from forge_tui.exporters.target import Target
    from forge_tui.protocol.run_info import RunInfo

_TOOLS = ("tensorboard", "mlflow", "wandb", "csv")
_PROJECT = "forge-tui"


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="run directory, name or run id; without it the newest")
    parser.add_argument(
        "--to",
        choices=_TOOLS,
        required=True,
        help="tensorboard: event files; mlflow, wandb (extras of these names): a run per model, wandb offline; csv: "
        "a table of epochs and one of models",
    )
    parser.add_argument(
        "--follow", action="store_true", help="continue until the run ends: epochs arrive a second after they are done"
    )
    parser.add_argument(
        "--output",
        metavar="PLACE",
        help="a directory, by default RUN-TOOL here, which is continued; of mlflow a SQLite file or a tracking URI, by "
        "default MLFLOW_TRACKING_URI, else mlflow.db here",
    )
    parser.add_argument(
        "--project", metavar="NAME", help=f"of mlflow the experiment, of wandb the project; by default {_PROJECT}"
    )


def run(arguments: argparse.Namespace, name: str) -> int:
    """Write what the output lacks, with `--follow` until the run ends; where it is goes to stdout."""
    _require_fitting(arguments)
    from forge_tui import client
    from forge_tui.exporters.export import Export

    with client.attach(arguments.run) as attached:
        target = _target(arguments, attached.snapshot().run)
        problems: tuple[str, ...] = ()
        try:
            export = Export(attached, target)
            answer(target.place)
            sys.stdout.flush()
            say(target.hint)
            if arguments.follow:
                for snapshot in export.follow():
                    problems = snapshot.problems
            else:
                problems = export.update().problems
        finally:
            target.close()
        counts = export.counts
        replaced = f"; {_times(counts.replaced)} a model's epochs were replaced" if counts.replaced else ""
        say(f"{counts.epochs} epoch{'' if counts.epochs == 1 else 's'} written{replaced}")
        for problem in problems:
            say(f"warning: {problem}")
    return 0


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _require_fitting(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for an option that means nothing for the tool, or if the tool is missing."""
    if arguments.project is not None and arguments.to not in ("mlflow", "wandb"):
        raise UsageError(f"--project: --to {arguments.to} has no projects; leave it out")
    if arguments.project == "":
        raise UsageError("--project: give a name")
    if arguments.to == "mlflow":
        from forge_tui.exporters.mlflow_store import require_mlflow

        require_mlflow()
    elif arguments.to == "wandb":
        from forge_tui.exporters.wandb_runs import require_wandb

        require_wandb()


def _target(arguments: argparse.Namespace, info: RunInfo) -> Target:
    project = arguments.project or _PROJECT
    if arguments.to == "mlflow":
        from forge_tui.exporters.mlflow_store import MlflowStore, tracking_uri

        return MlflowStore(tracking_uri(arguments.output), project, info)
    from forge_tui.exporters.output import OutputDirectory

    given = None if arguments.output is None else Path(arguments.output)
    output = OutputDirectory.open(info, arguments.to, Path(), given)
    try:
        match arguments.to:
            case "tensorboard":
                from forge_tui.exporters.tensorboard import EventFiles

                return EventFiles(output)
            case "csv":
                from forge_tui.exporters.csv_files import CsvFiles

                return CsvFiles(output, info.run)
        from forge_tui.exporters.wandb_runs import WandbRuns

        return WandbRuns(output, project, info)
    except BaseException:
        output.close()
        raise
