"""Reads the state of the known runs in threads; cheap for those that have ended."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from forge_tui.client.known import with_results
from forge_tui.client.run import Run
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.label import Label
from forge_tui.protocol.phases import RunState
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.runs import registry
from forge_tui.runs.label import label_mark, read_label
from forge_tui.runs.registry import KnownRun

# Runs of older versions, whose results are not in the list of runs, that one look reads: 3 ms each.
_OLDER_PER_LOOK = 20
_Signature = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLook:
    """A known run as it is now, with its name and results in `entry`.

    `state` is None if its directory cannot be read; `problem` then says why.
    `percent`, `completed` and `eta_seconds` are known if the list of runs does not record the run's end.
    `age` is the age of a live run's newest sign of life, in seconds rounded to minutes (a finer one would differ every
    time). `seen` is when an ended run ended or gave its last sign of life (UNIX seconds).
    """

    entry: KnownRun
    state: RunState | None
    problem: str = ""
    percent: float | None = None
    completed: int | None = None
    eta_seconds: float | None = None
    age: float | None = None
    seen: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether a runner is active."""
        return self.state is not None and self.state.is_live

    @property
    def state_word(self) -> str:
        """The state in one word."""
        if self.state is None:
            return "unreadable"
        return "live" if self.state is RunState.RUNNING else self.state.value


class KnownRuns:
    """Reads the known runs repeatedly; used from threads.

    An ended run costs one `stat`, a live one its changes: 1,000 ended runs took 15 ms per look.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mark: tuple[int, int, int] | None = None
        self._entries: list[KnownRun] = []
        self._live: dict[tuple[Path, float], Run] = {}  # by creation too: a directory can get a new run
        self._ended: dict[tuple[Path, float], tuple[_Signature, RunLook]] = {}
        self._labels: dict[Path, tuple[tuple[int, int, int], Label]] = {}
        self._older: dict[tuple[Path, float], KnownRun] = {}
        """Ended runs whose results were read from the runs themselves."""
        self._older_left = 0

    def look(self) -> tuple[RunLook, ...]:
        """All known runs, live ones first, then the newest first. Raises `RunDirectoryError` if none can be listed."""
        with self._lock:
            mark = registry.mark()
            if mark != self._mark:
                self._entries, self._mark = registry.known(), mark
            self._older_left = _OLDER_PER_LOOK
            entries = [entry for entry in self._entries if registry.may_be_there(entry)]
            looks = [self._labelled(self._look_at(entry)) for entry in entries]
            known = {_key(look.entry) for look in looks}
            for key in [key for key in self._live if key not in known]:
                self._live.pop(key).close()
            self._ended = {key: kept for key, kept in self._ended.items() if key in known}
            self._older = {key: kept for key, kept in self._older.items() if key in known}
            paths = {look.entry.path for look in looks}
            self._labels = {path: kept for path, kept in self._labels.items() if path in paths}
        return tuple(sorted(looks, key=lambda look: not look.is_live))

    def snapshot(self, path: Path) -> Snapshot:
        """One run in full. Raises `RunDirectoryError` with the reason if it cannot be read."""
        with Run(path) as run:
            return run.snapshot()

    def close(self) -> None:
        """Close all runs."""
        with self._lock:
            while self._live:
                self._live.popitem()[1].close()

    def _look_at(self, entry: KnownRun) -> RunLook:
        if entry.status is not None:
            try:
                state = RunState(entry.status)
            except ValueError:
                pass  # a state of a newer version: read the run itself
            else:
                return RunLook(entry=self._with_results(entry), state=state, seen=entry.finished)
        key, signature = _key(entry), _signature(entry.path)
        kept = self._ended.get(key)
        if kept is not None and kept[0] == signature:
            return kept[1]
        try:
            run = self._live.get(key) or Run(entry.path)
            self._live[key] = run
            look = _look_of(entry, run.snapshot())
        except RunDirectoryError as error:
            look = RunLook(entry=entry, state=None, problem=str(error))
        if not look.is_live:
            if (no_longer := self._live.pop(key, None)) is not None:
                no_longer.close()
            if look.state is not None:
                self._ended[key] = (signature, look)
        return look

    def _labelled(self, look: RunLook) -> RunLook:
        """The look with the run's present name and note, which are read again only if they were written."""
        path = look.entry.path
        mark, kept = label_mark(path), self._labels.get(path)
        if kept is None or kept[0] != mark:
            kept = self._labels[path] = mark, read_label(path)
        label = kept[1]
        if (label.name, label.note) == (look.entry.name, look.entry.note):
            return look
        return replace(look, entry=replace(look.entry, name=label.name, note=label.note))

    def _with_results(self, entry: KnownRun) -> KnownRun:
        """The entry of an ended run with its results, also of one whose version has not recorded them; a few a look."""
        if entry.seconds is not None:
            return entry
        key = _key(entry)
        if key not in self._older and self._older_left:
            self._older_left -= 1
            try:
                self._older[key] = with_results(entry, self.snapshot(entry.path))
            except RunDirectoryError:
                self._older[key] = entry
        return self._older.get(key, entry)


def _key(entry: KnownRun) -> tuple[Path, float]:
    return entry.path, entry.created


def _look_of(entry: KnownRun, snapshot: Snapshot) -> RunLook:
    ended = snapshot.run.finished if not snapshot.state.is_live else None
    found = with_results(entry, snapshot)
    return RunLook(
        # The time of a live run would differ every time.
        entry=replace(found, seconds=None) if snapshot.state.is_live else found,
        state=snapshot.state,
        percent=snapshot.overall_percent,
        completed=snapshot.completed,
        eta_seconds=snapshot.eta_seconds,
        age=snapshot.age // 60.0 * 60.0 if snapshot.state.is_live else None,
        seen=snapshot.written if ended is None else ended,
    )


def _signature(path: Path) -> _Signature:
    """Changes whenever a runner writes to the run's database."""
    found = []
    for name in ("run.db", "run.db-wal"):
        try:
            status = os.stat(path / name)
            found.append((status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((0, 0))
    return tuple(found)
