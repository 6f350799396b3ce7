"""Known runs: attach to, find, list and delete them, and check whether their code is trusted."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from forge_tui.client.run import Run
from forge_tui.errors import RunDirectoryError
from forge_tui.runs import registry
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.unfinished_start import start_in_words, state_of_start
from forge_tui.safe_io.read_only import refuse_if_read_only


def attach(run: str | os.PathLike[str] | None = None) -> Run:
    """Open an existing run, live or finished: a run directory, a run id, or by default the newest run.

    Raises `RunDirectoryError` if there is none.
    """
    path = registry.resolve(None if run is None else os.fspath(run))
    words = start_in_words(path)
    if words is not None:
        raise RunDirectoryError(words)
    return Run(path)


def find(run: str | None) -> Path:
    """The run directory of a directory, a run id, or the newest run. Raises `RunDirectoryError` if there is none."""
    return registry.resolve(run)


def known_runs() -> list[registry.KnownRun]:
    """All known runs, the newest first, with their present state as `status`."""
    return [entry if entry.status is not None else _looked_up(entry) for entry in registry.known()]


def _looked_up(entry: registry.KnownRun) -> registry.KnownRun:
    try:
        with Run(entry.path) as run:
            state = run.snapshot().state.value
    except RunDirectoryError:
        state = state_of_start(entry.path) or "unreadable"
    return dataclasses.replace(entry, status=state)


def untrusted_code(path: Path) -> list[str]:
    """Descriptions of the custom code of a run that this user has not started here; empty if there is none.

    Raises `RunDirectoryError` and `SettingsError` if the run cannot be read.
    """
    from forge_tui.runs import trust
    from forge_tui.runs.reader import RunReader
    from forge_tui.settings.files import read_settings

    directory = RunDirectory(path)
    found = trust.what_runs(read_settings(directory.settings))
    if found:
        with RunReader(directory.database) as reader:
            if trust.doubt(directory, reader.info()) is not None:
                return found
    return []


def delete(path: Path) -> tuple[Path, ...]:
    """Delete the run in a directory with all its files; returns the files that stay: no run has made them.

    A symbolic link to the directory is deleted too. Raises `RunDirectoryError` if the run is live, if there is none, or
    if its files cannot be determined, `ReadOnlyError` in a read-only process.
    """
    refuse_if_read_only("delete a run")
    from forge_tui.runs import removal, trust

    given = RunDirectory(path).path
    directory = RunDirectory(Path(os.path.realpath(given)))
    key = _key_of(directory)
    stayed = removal.remove_run(directory)
    if given.is_symlink() and not os.path.lexists(directory.path):
        given.unlink()
    for one in {given, directory.path}:
        registry.forget(one)
    if key:
        trust.forget_key(key)
    return stayed


def _key_of(directory: RunDirectory) -> str:
    """The run's key for trust, if its record can be read."""
    from forge_tui.runs.reader import RunReader

    try:
        with RunReader(directory.database) as reader:
            return reader.info().key
    except RunDirectoryError:
        return ""
