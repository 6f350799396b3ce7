"""Export a run for TensorBoard: a directory per model, with every metric of every epoch."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.errors import ForgeError
from forge_tui.exporters.tensorboard_records import figures_record, first_record
from forge_tui.reports.run_report import epoch_values, report_stem
from forge_tui.safe_io.read_only import refuse_if_read_only

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.events import EpochFinished

# TensorBoard recognises its files by this part of the name.
_FILE_NAME = "events.out.tfevents"


def write_event_files(run: Run, directory: Path) -> Path:
    """Write event files into a new directory in `directory`, such as `20261123-150210-planner-tensorboard`.

    Returns its absolute path. The step is the epoch; tags are named as in the CSV report. Nothing is overwritten:
    `-2`, `-3`, … is added if the name is taken. Raises `ForgeError` if no epoch is done or nothing can be written,
    `RunDirectoryError` if the run cannot be read.
    """
    refuse_if_read_only("write a report")
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
        shutil.rmtree(path, ignore_errors=True)  # a part would look like the whole run
        if isinstance(error, OSError) and not isinstance(error, ForgeError):
            raise ForgeError(_cannot_write(error, directory)) from error
        raise
    return path.absolute()


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
    directory.mkdir()
    begun = history[0].time if history else 0.0
    with (directory / f"{_FILE_NAME}.{begun:.0f}.forge-tui").open("xb") as file:
        file.write(first_record(begun))
        for epoch in history:
            values = epoch_values(epoch)
            known = {name: value for name, value in values.items() if value is not None}
            file.write(figures_record(epoch.time, epoch.epoch, known))


def _cannot_write(error: OSError, directory: Path) -> str:
    return (
        f"cannot write {error.filename or directory}: {error.strerror or error}; "
        "use `forge-tui report` from a directory of your own, with room"
    )
