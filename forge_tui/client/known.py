"""Known runs: attach to, find, list and delete them, and check whether their code is trusted."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.client.run import Run
from forge_tui.errors import RunDirectoryError
from forge_tui.runs import registry
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.unfinished_start import start_in_words, state_of_start
from forge_tui.safe_io.read_only import refuse_if_read_only

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot

_MOST_READ = 100


def attach(run: str | os.PathLike[str] | None = None) -> Run:
    """Open an existing run, live or finished: a run directory, a name, a run id, or by default the newest run.

    Raises `RunDirectoryError` if there is none.
    """
    path = registry.resolve(None if run is None else os.fspath(run))
    words = start_in_words(path)
    if words is not None:
        raise RunDirectoryError(words)
    return Run(path)


def find(run: str | None) -> Path:
    """The run directory of a directory, a name, a run id, or the newest run.

    Raises `RunDirectoryError` if there is none.
    """
    return registry.resolve(run)


def known_runs(*, results: bool = False) -> list[registry.KnownRun]:
    """All known runs, the newest first, with their present state as `status`, and their names and notes.

    `results`: also how good the best model of each is, and how long it took. What an older version has not recorded
    with the end of a run is read from the run, of the newest 100 such runs.
    """
    found = []
    left = _MOST_READ if results else 0
    for entry in map(registry.labelled, registry.known()):
        if entry.status is None:
            found.append(_looked_up(entry))
        elif entry.seconds is None and left:
            left -= 1
            found.append(dataclasses.replace(_looked_up(entry), status=entry.status))
        else:
            found.append(entry)
    return found


def named_runs() -> list[registry.KnownRun]:
    """All known runs, the newest first, with their names and notes, as they were registered: no run is opened."""
    return [registry.labelled(entry) for entry in registry.known()]


def with_results(entry: registry.KnownRun, snapshot: Snapshot) -> registry.KnownRun:
    """The entry with how good the best model is so far, and how long the run has taken."""
    from forge_tui.analysis.ranking import best_so_far

    best = best_so_far(snapshot)
    return dataclasses.replace(
        entry,
        metric=None if best is None else best.metric.title,
        value=None if best is None else best.value,
        seconds=snapshot.elapsed_seconds,
    )


def _looked_up(entry: registry.KnownRun) -> registry.KnownRun:
    try:
        with Run(entry.path) as run:
            snapshot = run.snapshot()
    except RunDirectoryError:
        return dataclasses.replace(entry, status=state_of_start(entry.path) or "unreadable")
    return dataclasses.replace(with_results(entry, snapshot), status=snapshot.state.value)


def namesakes(name: str, path: Path) -> list[str]:
    """The directories of other known runs that a name also stands for, as their name or their id."""
    return [
        str(entry.path)
        for entry in named_runs()
        if name in (entry.name, entry.run) and os.path.realpath(entry.path) != os.path.realpath(path)
    ]


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
