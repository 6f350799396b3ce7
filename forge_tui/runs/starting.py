"""Starts a run atomically: from its first file to its database, all or nothing.

Everything that it will create is first written to `starting.json`. Until the new database is in place, the next
holder of the lock (another start, a resume, a removal) can undo the start with it: created files are deleted, and
files in `previous-N/` are moved back. An earlier run's database is moved last, and the new one appears complete.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.belongings import Belonging, belonging_of, is_database
from forge_tui.runs.in_the_way import refuse_what_is_in_the_way
from forge_tui.runs.inside import is_directory, is_file
from forge_tui.runs.intent import HEAD, SETTINGS, Intent, read_intent
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import MARK
from forge_tui.runs.names import (
    CODE,
    DATABASE,
    LOCK,
    MOVING,
    PREVIOUS,
    ROOMS,
    ROOT,
    STARTING_FILE,
    STARTING_LOG,
    original_of,
)
from forge_tui.runs.own_paths import Record
from forge_tui.runs.record import read_record
from forge_tui.runs.survey import delete_own, move, survey
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import directory_error, sync_directory

_PIECE = 1 << 20
# Written before they are recorded: their first bytes identify them as ours.
_HEADS = {LOCK: MARK, STARTING_FILE: HEAD.encode(), "probe": bytes(4_096)}


class Start:
    """An announced start in a directory whose lock is held."""

    def __init__(self, directory: RunDirectory, intent: Intent, earlier: Record | None) -> None:
        """Use `begin`."""
        self._directory = directory
        self._intent = intent
        self._earlier = earlier
        self._is_open = True

    @classmethod
    def begin(
        cls,
        directory: RunDirectory,
        names: Iterable[str],
        settings: bytes,
        previous: Literal["refuse", "move"],
        *,
        made_root: bool,
    ) -> Start:
        """Announce a start and make its run's directories.

        `names`: the models' names; `settings`: the content of settings.toml; `made_root`: whether the run directory was
        made for it. Raises `RunDirectoryError` if there is a run that may not be moved, or if a foreign file has a name
        that this run needs.
        """
        path = directory.path
        earlier = refuse_what_is_in_the_way(directory, names, previous)
        theirs = frozenset() if earlier is None else earlier.directories
        rooms = {room for room in ROOMS if room in theirs or not os.path.lexists(path / room)}
        root = {ROOT} if made_root or ROOT in theirs else set()
        files = {SETTINGS: hashlib.sha256(settings).hexdigest(), STARTING_LOG: None}
        to = None if earlier is None else f"previous-{_last_previous(path) + 1}"
        start = cls(directory, Intent(files, frozenset(rooms | root), to), earlier)
        try:
            start._intent.write(path)
            start._make_rooms()
        except BaseException:
            start.undo()
            raise
        return start

    def announce(self, files: Mapping[str, str]) -> None:
        """Announce further files before they are made: path relative to the run directory, and SHA-256.

        Write them with `write_atomically`: a partial file would not be recognised as the start's. Raises
        `RunDirectoryError`.
        """
        parents = {str(parent) for file in files for parent in Path(file).parents} - {ROOT}
        parents = {parent for parent in parents if not os.path.lexists(self._directory.path / parent)}
        self._intent = replace(
            self._intent,
            files={**self._intent.files, **files},
            directories=self._intent.directories | parents,
        )
        self._intent.write(self._directory.path)

    def move_earlier(self) -> Path | None:
        """Move the earlier run to `previous-N/`, and return that; None if there is none.

        Foreign files, the lock and still earlier runs stay. Raises `RunDirectoryError`.
        """
        if self._earlier is None or self._intent.previous is None:
            return None
        path, target = self._directory.path, self._directory.path / self._intent.previous
        with _in_words("move the earlier run's files in", path):
            os.mkdir(target, 0o700)
            move(survey(path, belonging_of(path, _movable(self._earlier))), path, target)
            sync_directory(target)
            sync_directory(path)
        self._make_rooms()
        return target

    def directories(self) -> set[str]:
        """The directories that the new run records as made by it or by earlier runs in this directory."""
        found = set(self._intent.directories)
        if self._earlier is not None:
            found |= {name for name in self._earlier.directories if PREVIOUS.fullmatch(name)}
        if self._intent.previous is not None:
            found.add(self._intent.previous)
        return found

    def commit(self) -> None:
        """Complete the start: the new run's database is in place, nothing is undone. Raises `RunDirectoryError`."""
        _finish(self._directory)
        self._is_open = False

    def undo(self) -> None:
        """Restore the directory unless the new run's database is there. Raises `RunDirectoryError`."""
        if self._is_open:
            self._is_open = False
            if _is_committed(self._directory.path, self._intent):
                _finish(self._directory)
            else:
                _undo(self._directory, self._intent)

    def _make_rooms(self) -> None:
        for room in ROOMS:
            if room in self._intent.directories:
                with _in_words("create the directory", self._directory.path / room):
                    os.makedirs(self._directory.path / room, mode=0o700, exist_ok=True)


def recover(directory: RunDirectory) -> Intent | None:
    """Finish or undo a killed start. Call it with the lock held, before anything else.

    Returns the start's announcement if it was undone. Raises `RunDirectoryError`.
    """
    path = directory.path
    with _in_words("tidy up in", path):
        _remove_half_written(path)
        _undo_older_move(path)
    intent = read_intent(path)
    if intent is None:
        return None
    if _is_committed(path, intent):
        _finish(directory)
        return None
    _undo(directory, intent)
    return intent


def _is_committed(path: Path, intent: Intent) -> bool:
    """Whether the database at the top is the new run's."""
    return is_file(path / DATABASE) and (intent.previous is None or is_file(path / intent.previous / DATABASE))


def _finish(directory: RunDirectory) -> None:
    with _in_words("finish a start in", directory.path):
        if is_file(directory.starting_log):
            os.replace(directory.starting_log, directory.log("runner"))
        (directory.path / STARTING_FILE).unlink(missing_ok=True)
        sync_directory(directory.path)


def _undo(directory: RunDirectory, intent: Intent) -> None:
    path = directory.path
    with _in_words("undo an interrupted start in", path):
        earlier, is_moved = _earlier_of(path, intent)
        place = None if earlier is None else belonging_of(path, earlier)

        def keep(name: str) -> bool:
            # If the earlier run's database is still here, so are its files under names that the start would use.
            if is_database(name) or (place is not None and not is_moved and _is_of(place, name.partition("/")[0])):
                return True
            digest = intent.files.get(name)
            return digest is not None and digest != _digest(path / name)

        delete_own(survey(path, belonging_of(path, intent.record())), path, keep)
        if earlier is not None and intent.previous is not None:
            _move_back(path, path / intent.previous, earlier)
        (path / STARTING_FILE).unlink(missing_ok=True)
        sync_directory(path)


def _earlier_of(path: Path, intent: Intent) -> tuple[Record | None, bool]:
    """The part of the earlier run that the start moves, and whether all of it has been moved."""
    if intent.previous is None:
        return None, False
    is_moved = not is_file(path / DATABASE)
    return _movable(read_record((path / intent.previous if is_moved else path) / DATABASE)), is_moved


def _is_of(place: Belonging, name: str) -> bool:
    return place.owns(name) or place.inner(name) is not None


def _movable(earlier: Record) -> Record:
    """The part of an earlier run that a start moves away."""
    stay = {ROOT, *(name for name in earlier.directories if PREVIOUS.fullmatch(name))}
    return replace(
        earlier,
        files=earlier.files - {LOCK, STARTING_FILE, STARTING_LOG},
        directories=earlier.directories - stay,
    )


def _move_back(path: Path, source: Path, earlier: Record) -> None:
    if not is_directory(source):
        return
    inside = replace(earlier, directories=earlier.directories.union((ROOT, CODE, *ROOMS)))
    taken = move(survey(source, belonging_of(source, inside)), source, path)
    if taken:
        raise RunDirectoryError(
            f"a start in {named(path)} was interrupted, and the earlier run's {taken[0]} cannot be put back from "
            f"{named(source.name)}/: there is another one; move that away, and try again"
        )
    if not any(os.scandir(source)):
        source.rmdir()


def _undo_older_move(path: Path) -> None:
    """Move back the files of an interrupted move by version 0.1.0."""
    moving = path / MOVING
    if not is_directory(moving):
        return
    database = next((one / DATABASE for one in (path, moving) if is_file(one / DATABASE)), None)
    if database is None:
        return
    try:
        record = read_record(database)
    except RunDirectoryError:
        return  # reported by code that needs the run
    inside = replace(record, directories=frozenset((ROOT, *ROOMS)))
    move(survey(moving, belonging_of(moving, inside)), moving, path)
    if not any(os.scandir(moving)):
        moving.rmdir()


def _remove_half_written(path: Path) -> None:
    """Remove temporary files of a start that was killed before its announcement."""
    with os.scandir(path) as entries:
        for entry in entries:
            head = _HEADS.get(original_of(entry.name) or "")
            if head is None or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(FileNotFoundError):  # another process is taking the lock
                with open(entry.path, "rb") as file:
                    content = file.read(len(head))
                if head.startswith(content):
                    os.unlink(entry.path)


def _last_previous(path: Path) -> int:
    with os.scandir(path) as entries:
        found = [PREVIOUS.fullmatch(entry.name) for entry in entries]
    return max((int(match[1]) for match in found if match), default=0)


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            sha.update(piece)
    return sha.hexdigest()


@contextmanager
def _in_words(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except RunDirectoryError:
        raise
    except OSError as error:
        raise directory_error(error, doing, path) from error
