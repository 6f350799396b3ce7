"""`predict RUN FILE`: predictions of a finished model for the rows of a table."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from forge_tui.safe_io.printing import say

if TYPE_CHECKING:
    from forge_tui.training.ensemble import TrainedEnsemble
    from forge_tui.training.prediction.trained_model import TrainedModel


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", help="run directory, name or run id")
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a table with the columns of the training data, in any order; the one to predict may be missing",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", metavar="NAME", help="a model's name, or its number; without it the best")
    which.add_argument("--ensemble", action="store_true", help="the mean prediction of all completed models")
    parser.add_argument(
        "--output", metavar="FILE", help="a .csv, .parquet or .jsonl file; without it CSV on standard output"
    )
    parser.add_argument("--probabilities", action="store_true", help="a column with the probability of each class, too")
    parser.add_argument("--trust-code", action="store_true", help="run custom code of a run that you have not started")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Write a row per row of the table; where the column to predict is there, the score goes to stderr."""
    from forge_tui import client
    from forge_tui.cli.best import require_best
    from forge_tui.errors import UsageError
    from forge_tui.tables.writing import require_output, write_file, write_to_stdout

    path = Path(arguments.file).expanduser()
    output = None if arguments.output is None else Path(arguments.output).expanduser()
    if output is not None:
        require_output(output)
        if output.exists() and path.exists() and output.samefile(path):
            raise UsageError(f"--output {arguments.output} is the table itself; give the predictions another name")
    with client.attach(arguments.run) as attached:
        directory = attached.directory
        if not arguments.ensemble:
            if arguments.model is None:
                model = require_best(attached.id, attached.snapshot()).model
            else:
                model = attached.model_named(arguments.model)
    # Threads of torch that wait by spinning would take the CPU from the thread that reads the next rows.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Imported after the run was found: a missing run is reported at once, without importing torch.
    from forge_tui.training.prediction.files import FilePredictions, check_file
    from forge_tui.training.prediction.score import Score

    check_file(path)
    if arguments.ensemble:
        from forge_tui.reports.ensemble import load_ensemble

        module: TrainedModel | TrainedEnsemble = load_ensemble(directory.path, trust_code=arguments.trust_code)
    else:
        from forge_tui.training.export import load_model

        module = load_model(directory.stem(model.name), arguments.trust_code)
    if arguments.probabilities:
        module.description.require_classes()
    score = Score(module.description)
    found = FilePredictions(module, path, module.description.data, score, arguments.probabilities)
    if output is None:
        write_to_stdout(found.frames())
    else:
        with _ended_by(signal.SIGTERM, signal.SIGHUP):
            write_file(found.frames(), output)
    if str(score):
        say(str(score))
    return 0


@contextmanager
def _ended_by(*signals: signal.Signals) -> Iterator[None]:
    """Inside, these signals end the process with what is half-written removed, and status 128 + their number."""

    def end(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, end) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
