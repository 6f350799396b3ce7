"""Starts, resumes, checks and plans runs: the runner is a separate process in its own session.

The runner does not depend on viewers. They only share the run directory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forge_tui.client.run import Run
from forge_tui.errors import ChangedError, ForgeError, ResourceError, RunDirectoryError, UntrustedCode, UsageError
from forge_tui.runs import registry
from forge_tui.runs.unfinished_start import refuse_unless_a_run_comes_back
from forge_tui.safe_io.descriptors import reserved
from forge_tui.safe_io.read_only import refuse_if_read_only

if TYPE_CHECKING:
    from forge_tui.protocol.plan import RunPlan
    from forge_tui.protocol.request import Reply, Request
    from forge_tui.settings.schema import EngineSettings, Settings

_ERRORS: dict[int, type[ForgeError]] = {2: UsageError, 3: ResourceError, 4: RunDirectoryError}
_NAMED_ERRORS: dict[str, type[ForgeError]] = {error.__name__: error for error in (ChangedError, UntrustedCode)}


def start(
    settings: Settings | None = None,
    detach: bool = False,
    *,
    previous: Literal["refuse", "move"] = "refuse",
    leash: bool | None = None,
    name: str = "",
) -> Run:
    """Start a run; returns when it has begun: its data is read and its first models are queued.

    Without `detach` the run stops after a checkpoint when this process dies (`leash=False`: it continues). `previous`
    decides about an earlier run in the same directory: `move` moves its files into `previous-N/` there. `name`: what
    the run is called; commands accept it for the run. Keys that the site-wide settings lock have the site's values.
    Raises `ForgeError` with the reason if it cannot begin.
    """
    from forge_tui.protocol.label import checked_run_name

    called = checked_run_name(name)
    request = _request("start", settings, previous, leash if leash is not None else not detach, called)
    reply, channel = _launch(request)
    return Run(Path(reply.directory), channel)


def start_profiled(settings: Settings, seconds: float) -> Run:
    """As `start` with the leash, of a run whose workers measure for `seconds` where their time goes.

    Each writes what it measured to `protocol.profile.DIRECTORY` of the run directory; its models are not to be kept.
    """
    request = dataclasses.replace(_request("start", settings, "refuse", leash=True), profile=seconds)
    reply, channel = _launch(request)
    return Run(Path(reply.directory), channel)


def check(settings: Settings | None = None, *, previous: Literal["refuse", "move"] = "refuse") -> Reply:
    """Validate everything a run would need (settings, data, model, memory, directory) and train nothing.

    `previous`: as for `start`.
    """
    request = _request("check", settings, previous, leash=True)
    reply, channel = _launch(request)
    channel.close()
    return reply


def plan(settings: Settings | None = None) -> RunPlan:
    """Measure how long the run would take here in each way to carry it out; train nothing, write nothing."""
    from forge_tui.protocol.plan import RunPlan

    reply, channel = _launch(_request("plan", settings, "refuse", leash=True))
    channel.close()
    assert reply.plan is not None
    return RunPlan.from_record(reply.plan)


def resume(
    run: str | os.PathLike[str],
    *,
    epochs: int | None = None,
    detach: bool = False,
    accept_changes: bool = False,
    trust_code: bool = False,
    dataset: str | os.PathLike[str] | None = None,
    python_path: Sequence[str | os.PathLike[str]] = (),
    engine: EngineSettings | None = None,
) -> Run:
    """Continue a run that was stopped, failed or died; `epochs` trains a finished one further.

    `accept_changes`: continue although data or code has changed since the start; the models are no longer `exact`.
    `trust_code`: run custom code although this user has not started the run here. `engine`: where it continues, such as
    a cluster (its `fuse` does not count: groups stay); by default where it was.

    The files of a moved project are searched from the run directory and from the working directory; otherwise pass
    the file as `dataset` and the directories of its code as `python_path`. Raises `ChangedError` and `UntrustedCode`
    without these.
    """
    from forge_tui.protocol.request import Request
    from forge_tui.settings.engine import require_engine
    from forge_tui.settings.schema import Settings, to_plain

    if engine is not None:
        require_engine(Settings(engine=engine))
    path = registry.resolve(os.fspath(run))
    refuse_unless_a_run_comes_back(path)
    request = Request(
        action="resume",
        directory=str(path),
        working_directory=os.getcwd(),
        epochs=epochs,
        leash=not detach,
        accept_changes=accept_changes,
        trust_code=trust_code,
        dataset=None if dataset is None else os.fspath(dataset),
        python_path=tuple(os.path.abspath(Path(place).expanduser()) for place in python_path),
        engine=None if engine is None else to_plain(Settings(engine=engine))["engine"],
    )
    _reply, channel = _launch(request)
    return Run(path, channel)


def _request(
    action: Literal["start", "check", "plan"],
    settings: Settings | None,
    previous: Literal["refuse", "move"],
    leash: bool,
    name: str = "",
) -> Request:
    from forge_tui.protocol.request import Request
    from forge_tui.settings.command import require_fitting
    from forge_tui.settings.devices import require_devices_fit
    from forge_tui.settings.engine import require_engine
    from forge_tui.settings.own_names import own_functions, own_in_sweep
    from forge_tui.settings.replacement import refuse_replacement, require_no_unused
    from forge_tui.settings.schema import Settings, from_plain, to_plain
    from forge_tui.settings.search import require_search
    from forge_tui.settings.site import hold

    # Checked again: values may have changed since; the keys of a sweep get their full names.
    settings = hold(from_plain(to_plain(settings or Settings())))
    require_no_unused(settings)
    require_engine(settings)
    require_fitting(settings)
    require_devices_fit(settings)
    require_search(settings)
    if action == "plan":
        refuse_replacement(settings, "plan", "what its epochs take is not known before it runs")
    plain = to_plain(settings)
    output = settings.run.output
    directory = None if output is None else str(Path(output).expanduser().absolute())
    plain["run"]["output"] = directory
    if own_functions(settings.training) or own_in_sweep(settings.sweep):
        _place_own_code(plain)
    plain["training"]["dataset"] = _absolute(plain["training"]["dataset"])
    swept = plain["sweep"].get("training.dataset")
    if swept is not None:
        plain["sweep"]["training.dataset"] = [_absolute(name) for name in swept]
    return Request(
        action=action,
        directory=directory,
        working_directory=os.getcwd(),
        settings=plain,
        previous=previous,
        leash=leash,
        name=name,
    )


def _absolute(dataset: str) -> str:
    """A dataset's name; for a file its absolute path."""
    from forge_tui.settings.own_names import named_function

    path = Path(dataset).expanduser()
    return str(path.absolute()) if path.suffix and named_function(dataset) is None else dataset


def _place_own_code(plain: dict[str, dict[str, Any]]) -> None:
    """Make the paths of custom code absolute, so that a resume and `load_model` find it from anywhere."""
    from forge_tui.settings.own_names import OWN, found_beside

    places = [Path(place).expanduser().absolute() for place in plain["run"]["python_path"]]
    places += [Path.cwd()] if Path.cwd() not in places else []
    plain["run"]["python_path"] = [str(place) for place in places]
    training, swept = plain["training"], plain["sweep"]
    for name in OWN:
        training[name] = found_beside(training[name], places)
        if f"training.{name}" in swept:
            swept[f"training.{name}"] = [found_beside(text, places) for text in swept[f"training.{name}"]]


def _launch(request: Request) -> tuple[Reply, socket.socket]:
    """Start a runner, send it the request and wait for its reply. Raises `ReadOnlyError` in a read-only process."""
    refuse_if_read_only(f"{request.action} a run")
    from forge_tui.protocol.request import Reply
    from forge_tui.protocol.wire import receive_message, send_message

    with contextlib.ExitStack() as stack:
        with reserved():
            ours, theirs = socket.socketpair()
            stack.enter_context(theirs)
            output = stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "forge_tui.runner", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(theirs.fileno(),),
        )
        # Reaped in the background, so that no zombie remains if the caller does not wait for the run.
        threading.Thread(target=process.wait, name="reap runner", daemon=True).start()
        theirs.close()
        try:
            send_message(ours, request.to_record())
            received = receive_message(ours)
        except OSError:
            received = None
        except BaseException:
            ours.close()
            raise
        if received is None:
            ours.close()
            process.wait()
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
            from forge_tui.text.exit_status import exit_in_words

            what = f"the runner {exit_in_words(process.returncode)} before the run began"
            if said:
                raise ForgeError(f"{what}. Its output:\n{said}")
            raise ForgeError(f"{what}, without output; try again (`forge-tui runs` shows what it has left)")
    reply = Reply.from_record(received[0])
    if reply.status == "refused":
        ours.close()
        kind = _NAMED_ERRORS.get(reply.error) or _ERRORS.get(reply.exit_status, ForgeError)
        raise kind(reply.message)
    return reply, ours
