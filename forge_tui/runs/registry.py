"""The list of runs that this user has started on this machine, so that they can be named by id."""

from __future__ import annotations

import difflib
import errno
import fcntl
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_tui.errors import RunDirectoryError, UsageError
from forge_tui.protocol.record_fields import check_record
from forge_tui.runs.label import read_label
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.names import DATABASE
from forge_tui.runs.unfinished_start import start_in_words, state_of_start
from forge_tui.safe_io.plain_files import read_file
from forge_tui.safe_io.printing import escaped, named
from forge_tui.safe_io.strict_json import STATE, parse_object
from forge_tui.safe_io.whole_files import directory_error, make_private, write_atomically
from forge_tui.settings.user_file import state_directory

if TYPE_CHECKING:
    from forge_tui.protocol.run_info import RunInfo

_LOG = logging.getLogger("forge_tui")
_FILE = "runs.jsonl"
# With more outdated lines than this, the file is rewritten.
_SUPERSEDED = 2_000
_NEAR = 5
_LARGEST_FILE = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """A run as it was registered; its present state is in its own directory. Times in UNIX seconds.

    `has_key`: it was registered by a version that records trust under `trust/`. `metric` and `value` say how good the
    best model was when the run ended, `seconds` how long it took; None where an older version has not recorded them.
    `name` and `note` are those of its label, filled in by `labelled`.
    """

    run: str
    path: Path
    created: float
    mode: str = ""
    model_type: str = ""
    models: int = 0
    host: str = ""
    status: str | None = None
    finished: float | None = None
    has_key: bool = False
    metric: str | None = None
    value: float | None = None
    seconds: float | None = None
    name: str = ""
    note: str = ""

    @property
    def title(self) -> str:
        """What people call the run: its name if it has one, else its id."""
        return self.name or self.run


def register(info: RunInfo, state: Path | None = None) -> None:
    """Add the run to the list. Raises `RunDirectoryError` if the state directory cannot be written."""
    _append(
        {
            "event": "registered", "run": info.run, "path": info.path, "created": info.created, "mode": info.mode,
            "model_type": info.model_type, "models": info.models, "host": info.host, "has_key": True,
        },
        state,
    )  # fmt: skip


def finished(
    path: Path,
    status: str,
    when: float,
    state: Path | None = None,
    *,
    best: tuple[str, float] | None = None,
    seconds: float | None = None,
) -> None:
    """Record how the run at `path` ended: `best` is the title of the metric that decides, and its value.

    Raises as `register`.
    """
    metric, value = best or (None, None)
    _append(
        {
            "event": "finished", "path": str(RunDirectory(path).path), "status": status, "finished": when,
            "metric": metric, "value": value, "seconds": seconds,
        },
        state,
    )  # fmt: skip


def labelled(entry: KnownRun) -> KnownRun:
    """The entry with the name and the note that the run has now."""
    label = read_label(entry.path)
    return entry if not (label.name or label.note) else replace(entry, name=label.name, note=label.note)


def forget(path: Path, state: Path | None = None) -> None:
    """Remove the run at `path` from the list; its files stay. Raises as `register`."""
    _append({"event": "forgotten", "path": str(RunDirectory(path).path)}, state)


def known(state: Path | None = None) -> list[KnownRun]:
    """The runs whose directories still exist, the newest first. Raises `RunDirectoryError` if unreadable."""
    file = (state or state_directory()) / _FILE
    try:
        data = read_file(file, _LARGEST_FILE)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise directory_error(error, "read the list of runs", file) from error
    runs = (run for run in _fold(data).values() if may_be_there(run))
    # Runs of one second keep the order in which they were registered.
    return sorted(runs, key=lambda run: run.created)[::-1]


def may_be_there(run: KnownRun) -> bool:
    """Whether its database exists or cannot be checked: only a run that is certainly gone leaves the list.

    Starts that were killed before they had a database are listed too, and those moving an earlier run away.
    """
    try:
        os.stat(run.path / DATABASE)
    except (FileNotFoundError, NotADirectoryError):
        return state_of_start(run.path) is not None
    except OSError:
        return True
    return True


def mark(state: Path | None = None) -> tuple[int, int, int]:
    """A value that changes whenever the list is written, so that it need not be read to see changes."""
    try:
        status = os.stat((state or state_directory()) / _FILE)
    except OSError:
        return (0, 0, 0)
    return status.st_ino, status.st_mtime_ns, status.st_size


def resolve(run: str | None, state: Path | None = None) -> Path:
    """The directory of a run given as a directory, its name, an id, the beginning of an id, or None for the newest.

    Raises `UsageError`, with similar names, if none or several match, also if a directory of a run and another run's
    name do; `RunDirectoryError` for a directory without run.
    """
    if run is None:
        newest = next((one for one in known(state) if state_of_start(one.path) != "starting"), None)
        if newest is None:
            raise UsageError("no run is known; start one with `forge-tui --no-ui`, or name a run directory")
        return _begun(newest.path)
    if not run:
        raise UsageError("the name of the run is empty; leave it out for the newest, or see `forge-tui runs`")
    directory = RunDirectory(Path(run))
    if _is_there(directory):
        refuse_clash(run, directory.path, state)
        return directory.path
    runs = [labelled(one) for one in known(state)]
    exact = [one for one in runs if run in (one.run, one.name)]
    fitting = exact or [one for one in runs if one.run.startswith(run)]
    if len(fitting) == 1:
        return _begun(fitting[0].path)
    if fitting:
        some = ", ".join(escaped(str(one.path) if exact else one.run) for one in fitting[:_NEAR])
        more = f" and {len(fitting) - _NEAR} more" if len(fitting) > _NEAR else ""
        how = "give the directory of one" if exact else "name one in full"
        raise UsageError(f"{run!r} fits {len(fitting)} runs: {some}{more}; {how}")
    if os.path.isdir(_begun(directory.path)):
        raise RunDirectoryError(f"there is no run in {named(directory.path)}; `forge-tui runs` lists the known ones")
    names = [escaped(name) for one in runs for name in (one.name, one.run) if name]
    near = difflib.get_close_matches(run, names, n=_NEAR, cutoff=0.4)
    hint = f"the nearest are {', '.join(near)}" if near else "none is known"
    if names and not near:
        hint = f"the newest are {', '.join(names[:_NEAR])}"
    raise UsageError(f"no run {run!r}; {hint}; `forge-tui runs` lists them all")


def refuse_clash(run: str, path: Path, state: Path | None = None) -> None:
    """Raise `UsageError` if a word that stands for the run directory `path` is another run's name, too."""
    if os.sep in run or run in (os.curdir, os.pardir):
        return
    try:
        others = [one for one in known(state) if read_label(one.path).name == run and not _is_same(one.path, path)]
    except RunDirectoryError:
        return  # without a list of runs no name can be used
    if others:
        other = escaped(others[0].run if len(others) == 1 else str(others[0].path))
        raise UsageError(
            f"{run!r} is a run directory here, and the name of another run, {other}; write {os.curdir}{os.sep}"
            f"{escaped(run)} for the directory, or {other} for the other one"
        )


def _is_same(one: Path, other: Path) -> bool:
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def _begun(path: Path) -> Path:
    """`path`. Raises `RunDirectoryError` if a run is being started there, or was killed before it began."""
    start = start_in_words(path)
    if start is not None:
        raise RunDirectoryError(start)
    return path


def _is_there(directory: RunDirectory) -> bool:
    """Whether a run or leftovers of one are there. Raises `RunDirectoryError` if that cannot be checked."""
    database = directory.database
    try:
        if stat.S_ISREG(os.stat(database).st_mode):
            return True
        return directory.may_hold_run()
    except PermissionError as error:
        raise directory_error(error, "look at", database) from error
    except (OSError, ValueError):  # missing, or not a valid path
        return directory.may_hold_run()


def _fold(data: bytes) -> dict[str, KnownRun]:
    """The runs described by the lines of the file, by path."""
    runs: dict[str, KnownRun] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        try:
            record = parse_object(line, STATE)
            path = str(record["path"])
            if "\0" in os.fsdecode(os.fsencode(path)):  # raises ValueError for an impossible file name
                raise ValueError("its path has a zero byte")
            match record["event"]:
                case "registered":
                    # Moved to the end: another run in the same directory is a new run.
                    runs.pop(path, None)
                    runs[path] = _run_of(record)
                case "finished" if path in runs:
                    ended = {name: record[name] for name in ("status", "finished")}
                    ended |= {name: record[name] for name in ("metric", "value", "seconds") if name in record}
                    check_record(ended, KnownRun)
                    runs[path] = replace(runs[path], **ended)
                case "forgotten":
                    runs.pop(path, None)
        except (ValueError, TypeError, KeyError) as error:
            _LOG.debug("line %d of the list of runs is left out: %s", number, error)
    return runs


def _run_of(record: dict[str, Any]) -> KnownRun:
    check_record(record, KnownRun)
    fields = {name: record[name] for name in ("mode", "model_type", "models", "host") if name in record}
    return KnownRun(
        run=record["run"],
        path=Path(record["path"]),
        created=float(record["created"]),
        has_key=record.get("has_key") is True,
        **fields,
    )


def _append(record: dict[str, Any], state: Path | None) -> None:
    directory = state or state_directory()
    file = directory / _FILE
    try:
        make_private(directory)
        with _locked(directory):
            old = read_file(file, _LARGEST_FILE) if file.exists() else b""
            line = json.dumps({"v": 1, "time": time.time(), **record}).encode() + b"\n"
            # Counting the runs takes 8 ms for a thousand of them: done only if there are enough lines.
            lines = old.count(b"\n")
            if lines > _SUPERSEDED and lines > _SUPERSEDED + 2 * len(runs := _fold(old)):
                write_atomically(file, b"".join(_lines_of(run) for run in runs.values()) + line)
                return
            # An incomplete line, from a crash or a full disk, must not swallow this one.
            start = b"\n" if old and not old.endswith(b"\n") else b""
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                if os.write(descriptor, start + line) < len(start + line):  # the disk became full within it
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)
    except RunDirectoryError:
        raise
    except OSError as error:
        raise directory_error(error, "write the list of runs", file) from error


def _lines_of(run: KnownRun) -> bytes:
    record = {
        "v": 1, "event": "registered", "run": run.run, "path": str(run.path), "created": run.created, "mode": run.mode,
        "model_type": run.model_type, "models": run.models, "host": run.host, "has_key": run.has_key,
    }  # fmt: skip
    lines = json.dumps(record).encode() + b"\n"
    if run.status is not None:
        end = {
            "v": 1, "event": "finished", "path": str(run.path), "status": run.status, "finished": run.finished,
            "metric": run.metric, "value": run.value, "seconds": run.seconds,
        }  # fmt: skip
        lines += json.dumps(end).encode() + b"\n"
    return lines


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    # A separate file: the list itself is replaced when it is rewritten.
    descriptor = os.open(directory / "runs.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
