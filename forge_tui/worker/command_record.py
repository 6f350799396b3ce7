"""The record of a model that a command has trained: NAME.json, without weights."""

from __future__ import annotations

import platform
from typing import Any

from forge_tui import __version__
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.epoch_record import EpochRecord
from forge_tui.protocol.job import Job
from forge_tui.runs.inside import refuse_links
from forge_tui.runs.names import result_names
from forge_tui.safe_io.whole_files import write_whole
from forge_tui.settings.replacement import used_config
from forge_tui.settings.schema import Settings
from forge_tui.training.model_place import ModelPlace
from forge_tui.training.record_file import model_paths, read_model_record, record_text
from forge_tui.training.reported_record import reported_record
from forge_tui.worker.command_reports import CommandReports


def command_record(
    job: Job, settings: Settings, command: list[str], reports: CommandReports, *, started: float, seconds: float
) -> dict[str, Any]:
    """The content of NAME.json: what it reported, and None for what only a model of ours has.

    `command`: as it was run; `seconds`: how long, without pauses.
    """
    reported = reported_record(
        job,
        reports.progress,
        config=used_config(job.settings),
        parameters=None,
        stopped_early=reports.stopped_early is not None,
        started=started,
        seconds=seconds,
        exact=None,
    )
    versions = {"forge_tui": __version__, "python": platform.python_version()}
    return {**reported, "command": command, "epochs": settings.training.epochs, "versions": versions}


def write_record(place: ModelPlace, record: dict[str, Any]) -> None:
    """Write NAME.json. Raises `RunDirectoryError`."""
    with place.in_place():
        place.make_directory()
        path = place.checkpoints / result_names(place.job.attempt)[1]
        write_whole(path, (record_text(place.job.model, record, sha256=None).encode(),))
        place.publish(has_weights=False)


def finished_record(place: ModelPlace, command: list[str], epochs: int | None) -> dict[str, Any] | None:
    """NAME.json of an earlier attempt, if that has ended and its end was not recorded; else None."""
    path, _ = model_paths(place.stem)
    try:
        refuse_links(path, path.parent)
        record = read_model_record(place.stem)
        same = record["seed"] == place.job.seed and record["command"] == command and record["epochs"] == epochs
        return record if same and record["attempts"] < place.job.attempt else None
    except (RunDirectoryError, KeyError, TypeError):
        return None


def history_of(record: dict[str, Any]) -> list[EpochRecord]:
    """The epochs in such a record."""
    return [EpochRecord.from_record(item) for item in record["history"]]
