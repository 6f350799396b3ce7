"""Reads from a run's database what the run has created in its directory: paths, models, files of code."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.runs import tables
from forge_tui.runs.names import DATABASE, FILES, MOVING, PREVIOUS, ROOMS, ROOT, checked_name, is_inside
from forge_tui.runs.own_paths import OwnPath, Record, own_paths
from forge_tui.runs.reader import RunReader
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import directory_error
from forge_tui.settings.problems import shown

_ROW_ERRORS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error)


def read_record(database: Path) -> Record:
    """The record of the run with that database. Raises `RunDirectoryError` if it is not a run's, or unreadable."""
    with RunReader(database) as reader:
        info = reader.info()
        recorded = info.code
        code = list(recorded) if isinstance(recorded, dict) else []
        models = _models(reader)
        is_older = reader.version < tables.WITH_PATHS
        paths = own_paths(directories_of_older(database.parent)) if is_older else _paths(reader)
    for path in (*code, *(one.path for one in paths if one.path != ROOT)):
        if not is_inside(path):
            raise RunDirectoryError(
                f"{database} records {shown(path)}, which is not in its directory: another program has changed it; "
                "restore a copy"
            )
    return Record(
        models=models,
        # A manipulated database can only lead to deleting files of the kinds that a run makes.
        files=frozenset(one.path for one in paths if not one.is_directory).intersection(FILES),
        directories=frozenset(one.path for one in paths if one.is_directory),
        code=frozenset(code),
        has_custom_loop=info.has_custom_loop,
        is_older=is_older,
    )


def _models(reader: RunReader) -> frozenset[str]:
    """The names of the models, without damaged rows."""
    found = []
    for index, revision, record, crc in reader.rows("SELECT model_index, revision, record, crc FROM models"):
        try:
            if tables.model_crc(index, revision, record) != crc:
                continue
            name = tables.from_json(record)["name"]
        except _ROW_ERRORS:
            continue
        found.append(checked_name(name, f"model {index} in {reader.path}"))
    return frozenset(found)


def _paths(reader: RunReader) -> list[OwnPath]:
    """The rows of `paths`. Raises `RunDirectoryError` if one is damaged: its file would stay for ever."""
    found = []
    for path, is_directory, crc in reader.rows("SELECT path, directory, crc FROM paths"):
        try:
            is_whole = tables.path_crc(path, is_directory) == crc
            found.append(OwnPath(path.decode(), bool(is_directory)))
        except _ROW_ERRORS:
            is_whole = False
        if not is_whole:
            raise RunDirectoryError(
                f"{named(reader.path)} is damaged: the list of the run's files cannot be read; restore a copy of it"
            )
    return found


def directories_of_older(path: Path) -> list[str]:
    """The directories that a run of an older format has made in `path`, by the names that these versions used.

    `previous-N/` counts as an earlier run if it has a run's database. Raises `RunDirectoryError`.
    """
    found = [ROOT, *ROOMS]
    try:
        with os.scandir(path) as entries:
            inner = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        raise directory_error(error, "look into", path) from error
    for entry in inner:
        if entry.name == MOVING or (PREVIOUS.fullmatch(entry.name) and _holds_run(Path(entry.path))):
            found.append(entry.name)
    return found


def _holds_run(directory: Path) -> bool:
    try:
        RunReader(directory / DATABASE).close()
    except RunDirectoryError:
        return False
    return True
