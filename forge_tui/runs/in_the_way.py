"""Checks that a new run can start: no earlier run, and no foreign file under a name that it needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.belongings import Belonging, belonging_of
from forge_tui.runs.intent import read_intent
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import MARK, RunLock
from forge_tui.runs.names import (
    CODE,
    COMMANDS,
    DATABASE,
    LOCK,
    MOVING,
    REMOVED,
    ROOMS,
    SHARED,
    STARTING_FILE,
    original_of,
)
from forge_tui.runs.own_paths import Record
from forge_tui.runs.record import read_record
from forge_tui.runs.survey import survey
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import directory_error

_ELSEWHERE = "choose another directory with --output"


def refuse_foreign_lock(directory: RunDirectory) -> None:
    """Raise `RunDirectoryError` if a file named `lock` is not forge-tui's: it would be locked, and deleted.

    Locks of version 0.1.0 are empty: they count if there is a run.
    """
    path = directory.path
    if not os.path.lexists(directory.lock) or RunLock.is_own(directory.lock) or read_intent(path) is not None:
        return
    for name in (DATABASE, REMOVED, f"{MOVING}/{DATABASE}"):
        if not os.path.lexists(path / name):
            continue
        try:
            if LOCK in read_record(path / name).files:
                return
        except RunDirectoryError as error:
            raise _unreadable(directory, error) from None
    raise _taken(directory, [LOCK])


def refuse_what_is_in_the_way(
    directory: RunDirectory, names: Iterable[str], previous: Literal["refuse", "move"]
) -> Record | None:
    """The record of an earlier run, which may be moved; None if there is none.

    Raises `RunDirectoryError` if there is one and `previous` is `refuse`, if a database is not ours or cannot be read,
    and if a foreign file has a name that a run of models called `names` needs.
    """
    path = directory.path
    try:
        with os.scandir(path) as entries:
            if all(entry.name == LOCK for entry in entries):
                return None
        earlier = _earlier(directory, previous)
        needed = Record(models=frozenset(names), directories=frozenset((*ROOMS, CODE)))
        found = list(_taken_names(path, belonging_of(path, needed), list(_own(path, earlier))))
    except RunDirectoryError:
        raise
    except OSError as error:
        raise directory_error(error, "look into", path) from error
    if found:
        raise _taken(directory, sorted(found))
    return earlier


def _earlier(directory: RunDirectory, previous: Literal["refuse", "move"]) -> Record | None:
    database, intent = directory.database, read_intent(directory.path)
    if intent is not None and intent.previous is not None and not os.path.lexists(database):
        database = directory.path / intent.previous / DATABASE  # it comes back before a run starts here
    if not os.path.lexists(database):
        return None
    try:
        record = read_record(database)
    except RunDirectoryError as error:
        raise _unreadable(directory, error) from None
    if previous == "refuse":
        raise RunDirectoryError(
            f"{named(directory.path)} has a run already; continue it: `forge-tui resume {named(directory.path)}`, "
            "or move its files to previous-N/ with --overwrite"
        )
    return record


def _own(path: Path, earlier: Record | None) -> Iterator[Belonging]:
    """What is removed before a new run begins: an earlier run, and leftovers of a killed start or removal."""
    if earlier is not None:
        yield belonging_of(path, earlier)
    intent = read_intent(path)
    if intent is not None:
        yield belonging_of(path, replace(intent.record(), files=intent.record().files | {STARTING_FILE}))
    if earlier is None and os.path.lexists(path / REMOVED):
        yield belonging_of(path, read_record(path / REMOVED))


def _taken_names(path: Path, needed: Belonging, own: Sequence[Belonging]) -> Iterator[str]:
    """Names in the run directory that a new run needs and that no earlier run owns (`own`)."""
    with os.scandir(path) as entries:
        for entry in entries:
            name, inner = entry.name, needed.inner(entry.name)
            is_file, is_directory = entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False)
            if name == LOCK or (inner is None and not needed.owns(name)) or _is_another_start(entry):
                continue
            if is_file and any(place.owns(name) for place in own):
                continue
            theirs = [found for place in own if (found := place.inner(name)) is not None]
            if is_directory and inner is not None and name in SHARED:
                yield from (f"{name}/{one}" for one in _taken_below(path / name, inner, theirs))
            elif is_directory and theirs:
                if name == COMMANDS:  # its content would be used, whoever wrote it
                    foreign = set.intersection(*(set(survey(path / name, one).others()) for one in theirs))
                    yield from (f"{name}/{one}" for one in foreign)
            else:
                yield name


def _is_another_start(entry: os.DirEntry[str]) -> bool:
    """Whether the file is what another start makes its lock of: it is about to find the directory in use."""
    if original_of(entry.name) != LOCK or not entry.is_file(follow_symlinks=False):
        return False
    try:
        with open(entry.path, "rb") as file:
            return MARK.startswith(file.read(len(MARK) + 1))
    except FileNotFoundError:
        return True


def _taken_below(path: Path, needed: Belonging, own: Sequence[Belonging]) -> Iterator[str]:
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if not needed.owns(name) and needed.inner(name) is None:
                continue
            if entry.is_file(follow_symlinks=False) and any(place.owns(name) for place in own):
                continue
            if entry.is_dir(follow_symlinks=False) and any(place.inner(name) is not None for place in own):
                continue
            yield name


def _taken(directory: RunDirectory, names: Sequence[str]) -> RunDirectoryError:
    first, *others = names
    what = f"{first} and {len(others)} more" if others else first
    needs, them = ("those names", "them") if others else ("that name", "it")
    return RunDirectoryError(
        f"{named(directory.path)} has {what}, which no run of forge-tui has made there, and a new run needs {needs}: "
        f"{_ELSEWHERE}, or move {them} away"
    )


def _unreadable(directory: RunDirectory, error: RunDirectoryError) -> RunDirectoryError:
    return RunDirectoryError(
        f"{named(directory.path)} cannot take a new run: the owner of its {DATABASE} is unknown ({error}); {_ELSEWHERE}"
    )
