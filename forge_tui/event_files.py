"""A run as files that TensorBoard reads: a directory for each model, with every figure of every epoch.

The only place that imports `tensorboard`, an extra of this package.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.errors import ForgeError, UsageError
from forge_tui.report import EPOCH_FIGURES, report_stem

if TYPE_CHECKING:
    from forge_tui.progress.events import EpochFinished
    from forge_tui.session import Run

# What TensorBoard looks for in a file's name, and the version its first record states.
_FILE_NAME = "events.out.tfevents"
_VERSION = "brain.Event:2"


def write_event_files(run: Run, directory: Path) -> Path:
    """Write event files into a new directory in `directory`, such as `20261123-150210-planner-tensorboard`.

    Returns its absolute path. The step is the epoch; figures are called as in the CSV report. Nothing is written over:
    `-2`, `-3`, … where the name is taken. Raises `UsageError` where the extra is not installed, `ForgeError` where no
    epoch is done or nothing can be written, `RunDirectoryError` where the run cannot be read.
    """
    _check_extra()
    models = [model for model in run.snapshot().models if model.epoch > 0]
    if not models:
        raise ForgeError(f"run {run.id}: no model has finished an epoch yet; there is nothing for TensorBoard to show")
    try:
        path = _new_directory(directory, f"{report_stem(run.id)}-tensorboard")
    except OSError as error:
        raise ForgeError(_cannot_write(error, directory)) from error
    try:
        for model, history in zip(models, run.histories(models), strict=True):
            _write_events(path / model.name, history)
    except BaseException as error:
        shutil.rmtree(path, ignore_errors=True)  # half of a run would pass for the whole of it
        if isinstance(error, OSError) and not isinstance(error, ForgeError):
            raise ForgeError(_cannot_write(error, directory)) from error
        raise
    return path.absolute()


def _check_extra() -> None:
    try:
        import tensorboard.compat.proto.event_pb2
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"--format tensorboard needs the package tensorboard ({error}); "
            "install the extra: pip install 'forge-tui[tensorboard]'"
        ) from error


def _new_directory(directory: Path, name: str) -> Path:
    count = 1
    while True:
        path = directory / (f"{name}-{count}" if count > 1 else name)
        try:
            path.mkdir()
            return path
        except FileExistsError:
            count += 1


def _write_events(directory: Path, history: Sequence[EpochFinished]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    directory.mkdir()
    begun = history[0].time if history else 0.0
    with (directory / f"{_FILE_NAME}.{begun:.0f}.forge-tui").open("xb") as file:
        records = RecordWriter(file)
        records.write(Event(wall_time=begun, file_version=_VERSION).SerializeToString())
        for epoch in history:
            values = ((figure, getattr(epoch, figure)) for figure in EPOCH_FIGURES)
            summary = Summary(
                value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values if value is not None]
            )
            records.write(Event(wall_time=epoch.time, step=epoch.epoch, summary=summary).SerializeToString())


def _cannot_write(error: OSError, directory: Path) -> str:
    return (
        f"cannot write {error.filename or directory}: {error.strerror or error}; "
        "use `forge-tui report` from a directory of your own, with room"
    )
