"""A front end's access to a run through its run directory: read, follow and control it."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from forge_tui.client.following import changes
from forge_tui.errors import RunDirectoryError, RunGone, UsageError
from forge_tui.protocol.phases import RunState
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.liveness import Liveness, Pulse
from forge_tui.runs.location import Identity
from forge_tui.runs.lock import is_locked
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.read_only import refuse_if_read_only

if TYPE_CHECKING:
    import polars

    from forge_tui.analysis.spread import SeedValues, Span
    from forge_tui.protocol.events import EpochFinished
    from forge_tui.protocol.label import Label
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.request import Farewell
    from forge_tui.protocol.run_info import RunInfo
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.runs.reader import EpochPage, LastEpoch, NumberedEpochs, RunReader

_Found = TypeVar("_Found")

POLL_SECONDS = 0.1
# How soon a released run directory is noticed: checking the lock takes 10 µs.
_END_SECONDS = 0.02
_NAMED = 10
# Models whose histories are read while the file is open once: it is not kept open for longer.
_PAGE = 100


class Run:
    """A run, live or finished, accessed through its run directory.

    Every method may be called from any thread. Close it, or use it in a `with` block.
    """

    def __init__(
        self,
        path: Path,
        channel: socket.socket | None = None,
        *,
        clock: Callable[[], float] | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        """`clock` (UNIX seconds) and `monotonic` (seconds): used for snapshots instead of this machine's clocks."""
        self._clock, self._monotonic = clock or time.time, monotonic or time.monotonic
        self.directory = RunDirectory(path)
        self._identity = _identity_of(self.directory.path)
        self._was_read = self._was_held = False
        self._created: float | None = None
        self._channel = channel
        self._lock = threading.Lock()
        self._liveness = Liveness()
        self._pulse = Pulse()
        self._models: dict[int, ModelState] = {}
        self._ordered: tuple[ModelState, ...] = ()
        self._revision = 0
        self._sent: dict[str, int] = {}
        self._labelled: tuple[tuple[int, int, int], Label] | None = None

    @functools.cached_property
    def _reader(self) -> RunReader:
        from forge_tui.runs.reader import RunReader  # here: the UI paints before it reads

        return RunReader(self.directory.database)

    @property
    def id(self) -> str:
        """The run id: the run directory's last component."""
        return self.directory.id

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.directory.path

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the run's files. A run that was started without `detach` stops after a checkpoint."""
        with self._lock:
            if "_reader" in vars(self):
                self._reader.close()
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    # --- in a notebook

    def __repr__(self) -> str:
        return f"<Run {self.id!r} at {str(self.path)!r}>"

    def _repr_html_(self) -> str:
        from forge_tui.client.notebook import problem_html, snapshot_html

        try:
            return snapshot_html(self.snapshot())
        except RunDirectoryError as error:
            return problem_html(self.id, error)

    def frame(self) -> polars.DataFrame:
        """A row per model: seed, phase, epochs, swept settings (`config.…`), its present or final metrics, its path."""
        from forge_tui.client.frames import models_frame

        return models_frame(self.snapshot())

    def metrics_frame(self) -> polars.DataFrame:
        """A row per epoch of each model, with a column per metric: the rows of `report --format csv`."""
        from forge_tui.client.frames import epochs_frame

        snapshot = self.snapshot()
        return epochs_frame(snapshot, self.histories(snapshot.models))

    # --- looking

    @contextlib.contextmanager
    def _looking(self) -> Iterator[RunReader]:
        """The reader, for one caller at a time. Raises `RunGone` if the directory is no longer the same."""
        with self._lock:
            self._require_place()
            try:
                yield self._reader
            except RunDirectoryError:
                self._require_place()
                raise

    def _require_place(self) -> None:
        """Raise `RunGone` unless the directory is still the same and has the files of a run."""
        if self._identity is not None and not self._identity.is_at(self.directory.path):
            raise RunGone(f"run {self.id}: its directory {named(self.directory.path)} was moved or deleted")
        for path, was_there in ((self.directory.database, self._was_read), (self.directory.lock, self._was_held)):
            if was_there and not os.path.lexists(path):
                raise RunGone(f"run {self.id}: {named(path)} was deleted")

    def farewell(self, timeout: float) -> Farewell | None:
        """The runner's last message after the end of the run: where the run is, if its directory was moved or deleted.

        None if there is no message within `timeout` seconds; see `has_runner`.
        """
        from forge_tui.protocol.request import Farewell
        from forge_tui.protocol.wire import receive_message

        channel, received = self._channel, None
        if channel is None or not select.select([channel], [], [], timeout)[0]:
            return None
        with contextlib.suppress(OSError):
            received = receive_message(channel)
        if received is None:
            self._channel = None
            channel.close()
            return None
        return Farewell.from_record(received[0])

    @property
    def has_runner(self) -> bool:
        """Whether a runner that was started from this process may still send a message."""
        return self._channel is not None

    def snapshot(self) -> Snapshot:
        """The present state of the run. Records of unchanged models are shared with the last snapshot."""
        return self._at_one_moment(self._snapshot)

    def _at_one_moment(self, look: Callable[[], _Found]) -> _Found:
        """The result of `look`; the file is opened once for all its reads."""
        import sqlite3

        with self._looking() as reader:
            try:
                with reader.reading():
                    return look()
            except sqlite3.Error:  # in use, or damaged: each read handles or reports that by itself
                return look()

    def _snapshot(self) -> Snapshot:
        from forge_tui.analysis.eta import remaining_seconds
        from forge_tui.protocol.snapshot import Snapshot

        info = self._reader.info()
        self._was_read = True
        if self._created not in (None, info.created):
            message = f"run {self.id}: another run was started in its directory {self.directory.path}"
            raise RunGone(message, "was replaced by another run in its directory")
        self._created = info.created
        state = info.state
        now, monotonic = self._clock(), self._monotonic()
        if state.is_live and not self._is_alive(info, now, monotonic):
            self._require_place()  # without its directory a live run looks dead
            info = self._reader.info()  # it may have ended in between
            state = RunState.DIED if info.state.is_live else info.state
        changed, revision = self._reader.models(self._revision)
        if changed:
            for model in changed:
                self._models[model.index] = model
            self._ordered = tuple(self._models[index] for index in sorted(self._models))
            self._revision = revision
        eta = remaining_seconds(self._ordered, info.workers * _width(self._ordered)) if state.is_live else None
        beat = self._reader.heartbeat()
        self._pulse.look(beat.count, beat.written, now, monotonic)
        seconds = beat.seconds if info.state.is_live else info.seconds
        if seconds is not None and state.is_live:
            seconds += self._pulse.watched
        return Snapshot(
            run=info,
            models=self._ordered,
            state=state,
            revision=self._revision,
            time=now,
            age=self._pulse.age if state.is_live or state is RunState.DIED else 0.0,
            written=beat.written,
            seconds=seconds,
            eta_seconds=eta,
            problems=tuple(self._reader.problems),
            label=self._label(),
        )

    def _label(self) -> Label:
        """The run's label, read again only if it was written."""
        from forge_tui.runs.label import label_mark, read_label

        mark = label_mark(self.directory.path)
        if self._labelled is None or self._labelled[0] != mark:
            self._labelled = mark, read_label(self.directory.path)
        return self._labelled[1]

    def _is_alive(self, info: RunInfo, now: float, monotonic: float) -> bool:
        """Whether the run is being trained: by the lock, on another host by the heartbeat."""
        beat = self._reader.heartbeat()
        locked = is_locked(self.directory.lock)
        self._was_held = self._was_held or locked
        return self._liveness.is_live(
            locked=locked,
            host=info.host,
            here=socket.gethostname(),
            heartbeat=beat.count,
            written=beat.written,
            now=now,
            monotonic=monotonic,
        )

    def follow(self, interval: float = 0.5, cancelled: threading.Event | None = None) -> Iterator[Snapshot]:
        """Yield a snapshot now and whenever something changed, at most every `interval` seconds.

        Every five seconds of silence of the runner also count as a change.
        Ends after the snapshot in which the run is no longer live, or within 100 ms once `cancelled` is set. If the
        directory is moved or deleted, the last snapshot is repeated as `died`, and `RunGone` is raised.
        """
        end = cancelled or threading.Event()
        wait = functools.partial(self.pass_time, interval, end.is_set)
        for snapshot, _ in changes(lambda: (self.snapshot(), None), None, wait, end):
            yield snapshot

    def follow_with_messages(
        self, newest: int, interval: float, cancelled: threading.Event, *, past_the_end: float | None = None
    ) -> Iterator[tuple[Snapshot, list[dict[str, Any]]]]:
        """As `follow`, with the new events except epochs, at most `newest` of them.

        `past_the_end`: seconds between two reads after the run has ended, since it may be resumed from elsewhere; it is
        then followed until `cancelled` or deleted. None: this ends with the run.
        """
        since = 0

        def look() -> tuple[Snapshot, list[dict[str, Any]]]:
            nonlocal since
            snapshot = self._snapshot()
            found, since = self._reader.messages(since, newest)
            return snapshot, found

        nothing: list[dict[str, Any]] = []
        wait = functools.partial(cancelled.wait, interval)
        rest = None if past_the_end is None else functools.partial(cancelled.wait, past_the_end)
        yield from changes(lambda: self._at_one_moment(look), nothing, wait, cancelled, rest)

    def events(self, since: int = 0, limit: int = 10_000) -> list[tuple[int, dict[str, Any]]]:
        """Events after sequence number `since`, oldest first, as (sequence number, JSON-able record)."""
        with self._looking() as reader:
            return reader.events(since, limit=limit)

    def events_of(self, kinds: Collection[str], *, check_epochs: bool = True) -> list[dict[str, Any]]:
        """All events of some kinds, oldest first, as JSON-able records. `check_epochs`: whether epochs are checked."""
        with self._looking() as reader:
            return reader.events_of(kinds, check_epochs=check_epochs)

    def messages(self, since: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        """The newest `limit` events after `since` except epochs, and the sequence number for the next call."""
        with self._looking() as reader:
            return reader.messages(since, limit)

    def series(self, index: int, metric: str, buckets: int) -> tuple[Span, ...]:
        """A model's curve of a metric for plotting: at most `buckets` of (last epoch, smallest, largest)."""
        with self._looking() as reader:
            return reader.series(index, metric, buckets)

    def epoch_page(self, index: int, since: int, limit: int) -> EpochPage:
        """Up to `limit` of a model's epochs after number `since` (0: from the first one), in the order of training."""
        with self._looking() as reader:
            return reader.epoch_page(index, since, limit)

    def epochs_after(self, since: int, limit: int, index: int | None = None) -> NumberedEpochs:
        """Up to `limit` epochs after event number `since` (0: from the first), of all models or of model `index`."""
        with self._looking() as reader:
            return reader.epochs_after(since, limit, index)

    def last_epochs(self) -> dict[int, LastEpoch]:
        """The newest epoch of each model that has one, by index."""
        with self._looking() as reader:
            return reader.last_epochs()

    def resources(self) -> list[dict[str, Any]]:
        """The resource samples recorded with the run, oldest first: percent, bytes, UNIX seconds."""
        with self._looking() as reader:
            found: list[dict[str, Any]] = []
            since = 0
            while page := reader.resources(since):
                found += [record for _, record in page]
                since = page[-1][0]
            return found

    def history(self, index: int) -> list[EpochFinished]:
        """The epochs of one model (index 1…N), oldest first."""
        with self._looking() as reader:
            return reader.epochs(index)

    def histories(self, models: Sequence[ModelState]) -> Iterator[list[EpochFinished]]:
        """The epochs of each of `models`, oldest first; the file is opened once for many of them."""
        for start in range(0, len(models), _PAGE):
            yield from self._at_one_moment(functools.partial(self._histories, models[start : start + _PAGE]))

    def _histories(self, models: Sequence[ModelState]) -> list[list[EpochFinished]]:
        return [self._reader.epochs(model.index) for model in models]

    def curves(self, models: Sequence[ModelState]) -> Iterator[dict[str, SeedValues]]:
        """The metrics of each of `models` by name, one value per epoch, for curves over many models."""
        for start in range(0, len(models), _PAGE):
            yield from self._at_one_moment(functools.partial(self._curves, models[start : start + _PAGE]))

    def _curves(self, models: Sequence[ModelState]) -> list[dict[str, SeedValues]]:
        from forge_tui.client.curves import read_curves

        return [read_curves(self._reader, model.index) for model in models]

    def wait(self, timeout: float | None = None) -> Snapshot:
        """Block until the run is no longer live and its directory is released; returns the last snapshot.

        Raises `TimeoutError` after `timeout` seconds, `RunGone` if the directory was moved or deleted meanwhile.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            snapshot = self.snapshot()
            if not snapshot.state.is_live and not is_locked(self.directory.lock):
                return snapshot
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"run {self.id} is still {snapshot.state} after {timeout:g} s")
            self.pass_time(POLL_SECONDS)

    def pass_time(self, seconds: float, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Wait `seconds`; less if `interrupted()` becomes true or the run's directory is released."""
        deadline = time.monotonic() + seconds
        was_held = is_locked(self.directory.lock)
        while not interrupted() and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _END_SECONDS))
            if was_held and not is_locked(self.directory.lock):
                return

    # --- name and note

    @property
    def label(self) -> Label:
        """The name and the note that the run was given; empty without."""
        from forge_tui.runs.label import read_label

        return read_label(self.directory.path)

    def set_label(self, *, name: str | None = None, note: str | None = None) -> Label:
        """Give the run another name, another note, or both; an empty text removes one, None keeps it.

        Returns the new label. Raises `UsageError` for a name that could be taken for a path, `RunDirectoryError` if it
        cannot be written, `ReadOnlyError` in a read-only process.
        """
        refuse_if_read_only("name a run")
        from forge_tui.protocol.label import Label, checked_note, checked_run_name
        from forge_tui.runs.label import write_label

        old = self.label
        new = Label(
            old.name if name is None else checked_run_name(name), old.note if note is None else checked_note(note)
        )
        if new != old:
            write_label(self.directory, new)
        return new

    # --- control

    def stop(self, sender: str = "python") -> str:
        """Ask the run to stop after a checkpoint; returns the command's id, for `answer`."""
        return self.control("stop", sender=sender)

    def kill(self, sender: str = "python") -> str:
        """Ask the run to end at once, without a checkpoint; returns the command's id."""
        return self.control("kill", sender=sender)

    def pause(self, sender: str = "python") -> str:
        """Ask the run to pause at the next step of every model (memory kept, CPU free); returns the command's id."""
        return self.control("pause", sender=sender)

    def unpause(self, sender: str = "python") -> str:
        """Ask a paused run to continue; returns the command's id."""
        return self.control("continue", sender=sender)

    def cancel(self, model: str | int, sender: str = "python") -> str:
        """Ask the run to end one model (its name or index) after a checkpoint; returns the command's id."""
        return self.control("cancel", {"model": self.model_named(model).name}, sender)

    def retry(self, model: str | int, sender: str = "python") -> str:
        """Ask the run to train a failed or cancelled model (its name or index) again; returns the command's id."""
        return self.control("retry", {"model": self.model_named(model).name}, sender)

    def set_workers(self, workers: int, sender: str = "python") -> str:
        """Change the number of workers; the resource rules may allow fewer. Returns the command's id."""
        return self.control("workers", {"workers": workers}, sender)

    def model_named(self, model: str | int) -> ModelState:
        """The model with that name or that index 1…N. Raises `UsageError` if there is none."""
        models = self.snapshot().models
        for state in models:
            if model == state.name or str(model) == str(state.index):
                return state
        some = ", ".join(state.name for state in models[:_NAMED]) + (", …" if len(models) > _NAMED else "")
        raise UsageError(f"run {self.id} has no model {model!r}; it has {some}")

    def control(self, name: str, arguments: dict[str, Any] | None = None, sender: str = "python") -> str:
        """Leave a command for the runner; returns its id.

        Raises `RunDirectoryError` if the run is not live, `ReadOnlyError` in a read-only process.
        """
        refuse_if_read_only("control a run")
        snapshot = self.snapshot()
        if not snapshot.state.is_live:
            instead = "" if name in ("stop", "kill") else f"; `forge-tui resume {self.id}` continues it"
            raise RunDirectoryError(f"run {self.id} is {snapshot.state}: there is nothing to {named(name)}{instead}")
        from forge_tui.runs import commands

        newest = self._newest()
        command = commands.send(self.directory, name, arguments or {}, sender)
        self._sent[command] = newest
        return command

    def _newest(self) -> int:
        """The number of the newest event."""
        return self.messages(0, limit=0)[1]

    def answer(self, command: str, timeout: float | None = 5.0, done: bool = False) -> dict[str, Any] | None:
        """Wait for the runner's answer to a command: its `command` event, or None after `timeout` seconds.

        With `done`, wait for the second answer: that it was carried out. With `timeout=None`, wait as long as the run
        is live.
        """
        final = ("refused", "done", "failed")
        deadline = None if timeout is None else time.monotonic() + timeout
        seen = self._sent.get(command, 0)  # earlier events are not the answer, and may be many
        while True:
            live = deadline is not None or self.snapshot().state.is_live
            while events := self.events(seen):
                for _, record in events:
                    if record["event"] != "command" or record["id"] != command:
                        continue
                    if not done or record["outcome"] in final:
                        return record
                seen = events[-1][0]
            if not live or (deadline is not None and time.monotonic() >= deadline):
                return None
            time.sleep(POLL_SECONDS)


def _identity_of(path: Path) -> Identity | None:
    try:
        return Identity.of(path)
    except OSError:
        return None  # a problem is reported when the run is read


def _width(models: Sequence[ModelState]) -> int:
    """How many models a worker trains together."""
    return max((len(model.group) for model in models if model.group), default=1)
