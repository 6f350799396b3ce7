"""Opens the records of a new run."""

from __future__ import annotations

import getpass
import os
import socket
import stat
import time

import forge_tui
from forge_tui.engines.output import Outputs
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import RunStarted
from forge_tui.protocol.label import Label
from forge_tui.protocol.request import Request
from forge_tui.protocol.run_data import RunData
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runner import groups
from forge_tui.runner.code_copy import Code
from forge_tui.runner.journal import Journal
from forge_tui.runner.opened import RUNNER_LOG, Opened, distrust, register, report_code, trusted
from forge_tui.runner.prepare import Plan, slowness
from forge_tui.runs import run_models
from forge_tui.runs.label import write_label
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.starting import Start
from forge_tui.runs.store import RunStore
from forge_tui.safe_io.printing import shell_word
from forge_tui.safe_io.whole_files import directory_error
from forge_tui.settings.files import settings_digest, write_settings
from forge_tui.settings.schema import Settings


def open_new(
    request: Request,
    directory: RunDirectory,
    settings: Settings,
    plan: Plan,
    data: RunData | None,
    code: Code,
    start: Start,
    outputs: Outputs,
) -> Opened:
    """Move an earlier run away, if any, then write settings, code, database and registry entry of the new one."""
    start.move_earlier()
    write_settings(settings, directory.settings)
    if request.name:
        write_label(directory, Label(request.name))
    training = settings.training
    info = RunInfo(
        run=directory.id,
        path=str(directory.path),
        mode=training.training_mode,
        policy=settings.resources.policy,
        model_type=run_models.type_words(settings),
        models=run_models.count(settings),
        epochs=training.epochs,
        created=time.time(),
        host=socket.gethostname(),
        runner=os.getpid(),
        user=getpass.getuser(),
        threads=plan.threads,
        fuse=plan.fuse,
        device=plan.job.device,
        working_directory=request.working_directory,
        version=forge_tui.__version__,
        settings_sha256=settings_digest(directory.settings),
        train=training.train,
        command=settings.run.command,
        search=settings.search.method,
        data=None if data is None else data.to_record(),
    )
    states = run_models.new_models(settings)
    start.announce(code.settle(directory))
    code.keep(directory)
    try:
        info, untrusted = trusted(code.in_record(info), settings)
        store = RunStore.create(directory.database, info, states, start.directories())
        _take_over(store, directory, start, outputs)
    except BaseException as error:
        if not os.path.lexists(directory.database):
            distrust(info)
        elif isinstance(error, RunDirectoryError):
            then = f"nothing is trained yet, `forge-tui resume {shell_word(str(directory.path))}` begins it"
            raise RunDirectoryError(f"{error}; {then}") from error
        raise
    journal = Journal(store, info, states)
    journal.record(
        RunStarted(
            time=journal.clock(),
            mode=info.mode,
            models=info.models,
            epochs=info.epochs,
            settings=str(directory.settings),
            output=str(directory.path),
        )
    )
    register(journal)
    report_code(journal, code, untrusted)
    if (slow := slowness(settings, plan.job.device)) is not None:
        journal.warn("precision", slow)
    _warn_of_others(journal)
    return Opened(directory, groups.settled(settings, plan.fuse), plan, store, journal, code)


def _take_over(store: RunStore, directory: RunDirectory, start: Start, outputs: Outputs) -> None:
    """Complete the start after its database is in place. Raises `RunDirectoryError`."""
    try:
        # Not before: until there is a database, this log marks a killed start without anything to keep.
        outputs.move_own(RUNNER_LOG)
        start.commit()
    except OSError as error:
        store.close()
        if isinstance(error, RunDirectoryError):
            raise
        raise directory_error(error, "write", directory.path / RUNNER_LOG) from error


def _warn_of_others(journal: Journal) -> None:
    """Warn if an existing directory, which keeps its mode, is open to other users."""
    path = journal.info.path
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if others := mode & 0o077:
        may = "write to" if others & 0o022 else "look into"
        journal.warn(
            "permissions",
            f"other users may {may} {path} (mode {mode:o}); the run's files in it are private, and "
            f"`chmod 700 {shell_word(path)}` makes the directory private too",
        )
