"""Acquires the run directory, and restores it if a start fails."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from pathlib import Path

from setproctitle import setproctitle

from forge_tui.engines.output import Outputs
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.request import Request
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runner.opened import RUNNER_LOG
from forge_tui.runs import registry, removal, run_models, starting
from forge_tui.runs.in_the_way import refuse_foreign_lock
from forge_tui.runs.label import refuse_foreign_label
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.location import Identity, Location
from forge_tui.runs.lock import RunLock
from forge_tui.runs.names import ROOT
from forge_tui.runs.starting import Start
from forge_tui.safe_io.whole_files import directory_error as disk_in_words
from forge_tui.settings.files import settings_text
from forge_tui.settings.schema import Settings, from_plain

_TRIES = 20


def take_directory(
    request: Request, stack: contextlib.ExitStack
) -> tuple[RunDirectory, RunLock, contextlib.ExitStack, bool]:
    """The run directory, its lock, a stack that undoes everything from now on, and whether the directory was made.

    `stack` releases them all; leftovers of a killed start or removal are undone or finished. Raises `RunDirectoryError`
    if another process has the lock, or if something else is in its place.
    """
    outside = stack.enter_context(contextlib.ExitStack())
    directory, made_root = _make_directory(request, outside)
    setproctitle(f"forge-tui: runner {directory.id}")
    refuse_foreign_lock(directory)
    lock = _acquire(directory)
    outside.callback(undo_nothing_elsewhere, Identity.of(directory.path), directory.path, outside)
    stack.callback(lock.release)
    # Undone before the lock is released: without it another run may begin here. Only the directory itself is removed
    # afterwards, if it is empty.
    undo = stack.enter_context(contextlib.ExitStack())
    if lock.is_new:
        undo.callback(lock.remove)
    if request.action != "resume":
        made_root |= removal.finish(directory)
    undone = starting.recover(directory)
    made_root |= undone is not None and ROOT in undone.directories
    return directory, lock, undo, made_root


def _make_directory(request: Request, undo: contextlib.ExitStack) -> tuple[RunDirectory, bool]:
    """The run directory, and whether it was made; if so, `undo` removes it if it is empty then."""
    if request.directory is None:
        base = Path(request.working_directory) / "runs"
        directory, is_new = (
            RunDirectory.create_new(run_models.type_words(settings_of(request)), time.time(), base),
            True,
        )
    else:
        directory = RunDirectory(Path(request.directory))
        if request.action == "resume":
            directory.check_holds_run()
        is_new = directory.make()
    if is_new:
        undo.callback(_remove_if_empty, directory.path)
    return directory, is_new


def begin_start(request: Request, directory: RunDirectory, made_root: bool) -> Start:
    """Announce the start of a new run. Raises `RunDirectoryError` if something is in its way."""
    settings = settings_of(request)
    if request.name:
        refuse_foreign_label(directory)
    text = settings_text(settings).encode()
    return Start.begin(directory, run_models.names(settings), text, request.previous, made_root=made_root)


def _acquire(directory: RunDirectory) -> RunLock:
    """The lock; retries if another, failed start has removed the empty directory."""
    for _ in range(_TRIES):
        try:
            return RunLock.acquire(directory.lock)
        except RunDirectoryError as error:
            if error.errno != errno.ENOENT:
                raise
            directory.make()
    return RunLock.acquire(directory.lock)


def settings_of(request: Request) -> Settings:
    assert request.settings is not None
    return from_plain(request.settings)


def open_location(directory: RunDirectory) -> Location:
    try:
        return Location(directory.path)
    except OSError as error:
        raise disk_in_words(error, "open", directory.path) from error


def log_to(outputs: Outputs, directory: RunDirectory, undo: contextlib.ExitStack, *, is_new: bool) -> None:
    """Send the output of this process and of the fork server to a file of the run."""
    log = directory.starting_log if is_new else directory.path / RUNNER_LOG
    try:
        if is_new:
            undo.callback(outputs.release)  # otherwise later output would recreate files that the undo removes
        outputs.take_own(directory.starting_log.name if is_new else RUNNER_LOG)
    except OSError as error:
        raise disk_in_words(error, "write", log) from error


def list_start(directory: RunDirectory, settings: Settings, undo: contextlib.ExitStack) -> None:
    """Add the start to the list of runs, so that it is found there if it is killed."""
    info = RunInfo(
        run=directory.id,
        path=str(directory.path),
        mode=settings.training.training_mode,
        policy=settings.resources.policy,
        model_type=run_models.type_words(settings),
        models=run_models.count(settings),
        epochs=settings.training.epochs,
        created=time.time(),
        host=socket.gethostname(),
    )
    with contextlib.suppress(RunDirectoryError):  # retried, and reported, when the run has begun
        registry.register(info)
        undo.callback(_forget, directory)


def _forget(directory: RunDirectory) -> None:
    with contextlib.suppress(RunDirectoryError):  # without its directory it leaves the list by itself
        registry.forget(directory.path)


def undo_nothing_elsewhere(directory: Identity, path: Path, undo: contextlib.ExitStack) -> None:
    """Undo nothing at the old path of a directory that was moved or deleted meanwhile: it belongs to others."""
    if not directory.is_at(path):
        undo.pop_all()


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):  # foreign files were added meanwhile
        path.rmdir()
