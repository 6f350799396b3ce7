"""The watched run: opened, followed and controlled in worker threads, which post messages and touch no widget."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forge_tui.errors import ForgeError, RunGone
from forge_tui.tui.follow import Turn, follow_run, turn
from forge_tui.tui.messages import (
    CommandsAnswered,
    FollowFailed,
    LiveRunsCounted,
    OpenRequest,
    RunOpened,
    RunRefused,
    RunRemoved,
    SnapshotChanged,
)

if TYPE_CHECKING:
    from textual.app import App

    from forge_tui.client.run import Run
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.settings.schema import Settings

ANSWER_SECONDS = 5.0
_KEPT_EVENTS = 2_000
_LIVE = ("queued", "running", "paused", "stopping")


class RunController:
    """The UI's state of the watched run, and its only access to a run.

    Its attributes are for the app's thread only; the workers get arguments and post messages.
    """

    def __init__(
        self,
        app: App[Any],
        run: Run | None,
        *,
        refresh: float,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`refresh`: snapshots per second; `clock` gives UNIX seconds, `monotonic` seconds."""
        self.run = run
        self.snapshot: Snapshot | None = None
        self.history: list[dict[str, Any]] = []
        """The newest events of the run, without epochs."""
        self.news_told = False
        """Whether a screen has checked the events for failures."""
        self.removed = ""
        """Why the watched run no longer exists, or empty."""
        self.started_here = False
        self.live_runs = 0
        """How many known runs were live when they were last counted."""
        self._app = app
        self._interval = 1.0 / refresh
        self._clock, self._monotonic = clock, monotonic
        self._taken_at = -math.inf
        self._last_snapshot = -math.inf
        self._starts = 0
        self._cancelled = threading.Event()

    # --- opening

    @property
    def is_starting(self) -> bool:
        """Whether a start or a resume is pending."""
        return self._starts > 0

    def start(self, settings: Settings, previous: Literal["refuse", "move"] = "refuse", name: str = "") -> None:
        """Start a run, called `name`; `RunOpened` or `RunRefused` follows."""
        from forge_tui import client

        self._open(OpenRequest("start"), lambda: client.start(settings, detach=True, previous=previous, name=name))

    def resume(self, path: Path, epochs: int | None = None, *, trust_code: bool = False) -> None:
        """Continue the run in `path`, up to `epochs`; `RunOpened` or `RunRefused` follows."""
        from forge_tui import client

        request = OpenRequest("resume", path, epochs)
        self._open(request, lambda: client.resume(path, epochs=epochs, detach=True, trust_code=trust_code))

    def attach(self, path: Path) -> None:
        """Attach to the run in `path`; `RunOpened` or `RunRefused` follows."""
        from forge_tui import client

        self._open(OpenRequest("attach", path), lambda: client.attach(path))

    def _open(self, request: OpenRequest, opening: Callable[[], Run]) -> None:
        self._starts += request.starts

        def work() -> None:
            try:
                self._app.post_message(RunOpened(request, opening()))
            except (ForgeError, OSError) as error:
                known = error if isinstance(error, ForgeError) else ForgeError(str(error))
                self._app.post_message(RunRefused(request, known))

        # Not exclusive: a start continues while another run is opened.
        self._app.run_worker(work, thread=True, group="open")

    def answered(self, message: RunOpened | RunRefused) -> None:
        """Record the answer to a request."""
        self._starts -= message.request.starts
        if isinstance(message, RunOpened):
            self.started_here = message.request.starts

    # --- following

    def follow(self, run: Run) -> None:
        """Watch another run: `SnapshotChanged` now and on every change, until `close` or another run."""
        self._cancelled.set()
        cancelled = self._cancelled = threading.Event()
        self.run, self.snapshot, self.history, self.removed, self.news_told = run, None, [], "", False
        work = functools.partial(self._follow, run, cancelled)
        self._app.run_worker(work, thread=True, exclusive=True, group="run", exit_on_error=False)

    def _follow(self, run: Run, cancelled: threading.Event) -> None:
        post = self._app.post_message
        try:
            follow_run(run, self._interval, cancelled, lambda *new: post(SnapshotChanged(run, *new)))
        except RunGone as error:
            post(RunRemoved(run, f"run {run.id} {error.what}"))
        except ForgeError as error:
            post(FollowFailed(str(error)))
        except Exception as error:  # the boundary of this thread: otherwise the screen would stop without a message
            post(FollowFailed(f"a defect in following the run ({type(error).__name__}: {error}); please report it"))

    def close(self) -> None:
        """Stop following: the worker ends within 100 ms."""
        self._cancelled.set()

    def take(self, message: SnapshotChanged) -> Turn | None:
        """Set a new snapshot and its events; returns the run's change, None if another run is watched now."""
        if message.run is not self.run:
            return None
        came = turn(self.snapshot, message.snapshot)
        self._last_snapshot = time.monotonic() if message.snapshot.state.is_live else -math.inf
        self.snapshot, self._taken_at = message.snapshot, self._monotonic()
        self.history = [*self.history[-_KEPT_EVENTS:], *message.events]
        return came

    def forget(self, message: RunRemoved) -> bool:
        """Clear the state of a run that no longer exists. False if another run is watched now."""
        if message.run is not self.run:
            return False
        self.close()
        self.run, self.snapshot, self.history, self.started_here = None, None, [], False
        self.removed = message.what
        self._last_snapshot = -math.inf
        return True

    @property
    def has_ended(self) -> bool:
        """Whether the watched run is no longer live."""
        return self.snapshot is not None and not self.snapshot.state.is_live

    @property
    def snapshots_come(self) -> bool:
        """Whether snapshots arrive regularly: other drawing can wait for the next one."""
        return time.monotonic() < self._last_snapshot + 1.5 * self._interval

    def took(self, model: ModelState) -> float | None:
        """How long workers have been busy with a model of the watched run so far (seconds)."""
        snapshot = self.snapshot
        if snapshot is None:
            return None
        since = self._monotonic() - self._taken_at if snapshot.state.is_live else 0.0
        return model.took(snapshot.elapsed_seconds + since, self._clock())

    # --- control

    def send(self, name: str, arguments: list[dict[str, Any]], sender: str) -> None:
        """Send the watched run one command per item of `arguments`; `CommandsAnswered` follows."""
        run = self.run
        if run is not None:
            self._post_answers(lambda: _send(run, name, arguments, sender), name, len(arguments))

    def send_to(self, path: Path, title: str, name: str, sender: str) -> None:
        """Send a command to the run in `path`, which need not be the watched one; `CommandsAnswered` follows."""

        def send() -> list[dict[str, Any]]:
            from forge_tui import client

            with client.attach(path) as run:
                return _send(run, name, [{}], sender)

        self._post_answers(send, name, 1, title)

    def _post_answers(self, send: Callable[[], list[dict[str, Any]]], name: str, count: int, title: str = "") -> None:
        """Send in a thread, and post the answers to `count` commands."""

        def work() -> None:
            try:
                answers = send()
                found = CommandsAnswered(name, answers, count - len(answers), ANSWER_SECONDS, run=title)
            except (ForgeError, OSError) as error:
                found = CommandsAnswered(name, [], error=str(error), run=title)
            self._app.post_message(found)

        self._app.run_worker(work, thread=True, group="io")

    # --- the other runs

    def count_live_runs(self) -> None:
        """Count the known runs that are live; `LiveRunsCounted` follows, unless they cannot be listed."""

        def work() -> None:
            from forge_tui import client

            try:
                live = sum(1 for run in client.known_runs() if run.status in _LIVE)
            except ForgeError:
                return
            self._app.post_message(LiveRunsCounted(live))

        self._app.run_worker(work, thread=True, exclusive=True, group="count", exit_on_error=False)


def _send(run: Run, name: str, arguments: list[dict[str, Any]], sender: str) -> list[dict[str, Any]]:
    """Send the commands; returns the last answers of those answered in time."""
    sent = [run.control(name, given, sender=sender) for given in arguments]
    deadline = time.monotonic() + ANSWER_SECONDS
    answers = []
    for command in sent:
        answer = run.answer(command, max(0.1, deadline - time.monotonic()))
        if answer is not None and answer["outcome"] == "accepted" and name not in ("stop", "kill"):
            answer = run.answer(command, max(0.1, deadline - time.monotonic()), done=True) or answer
        if answer is not None:
            answers.append(answer)
    return answers
