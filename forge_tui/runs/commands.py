"""Commands to a live run: small files that a front end writes and the runner takes; viewers cannot block training."""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.inside import refuse_links
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.names import is_name
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.strict_json import STATE, parse_object
from forge_tui.safe_io.whole_files import directory_error, write_atomically

VERSION = 1
LARGEST = 65_536
_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command to a run. `problem` says why it cannot be followed (the file was malformed), else None."""

    id: str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    sender: str = ""
    time: float = 0.0
    problem: str | None = None


def send(directory: RunDirectory | Path, name: str, arguments: dict[str, Any], sender: str) -> str:
    """Leave a command for the runner; returns its id.

    `arguments` are JSON values; `sender` says who asks (`ui`, `cli`, `python`). Raises `RunDirectoryError` if there is
    no run or nothing can be written, `ValueError` for arguments that JSON cannot express.
    """
    commands = _commands_of(directory)
    refuse_links(commands, commands.parent)
    if not commands.is_dir():
        raise RunDirectoryError(f"{named(commands.parent)} takes no commands: there is no run in it")
    now = time.time()
    identity = os.urandom(6).hex()
    record = {"v": VERSION, "id": identity, "name": name, "arguments": arguments, "from": sender, "time": now}
    try:
        data = json.dumps(record, allow_nan=False).encode()
    except TypeError as error:
        raise ValueError(f"the arguments of command {name!r} are not JSON: {error}") from None
    # The name sorts by time: the runner takes the oldest first.
    write_atomically(commands / f"{time.time_ns():020d}-{identity}.json", data)
    return identity


def take(directory: RunDirectory | Path) -> list[Command]:
    """Take the waiting commands, oldest first; their files are deleted.

    A malformed one has a `problem`, so that the runner can refuse it. Raises `RunDirectoryError` if the files cannot be
    deleted: they would be carried out again and again.
    """
    commands = _commands_of(directory)
    refuse_links(commands, commands.parent)
    try:
        with os.scandir(commands) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".json") and entry.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise directory_error(error, "look for commands in", commands) from error
    found = []
    for name in names:
        command = _read(commands / name)
        try:
            _remove(commands / name)
        except FileNotFoundError:
            continue  # another process took it
        except OSError as error:
            raise directory_error(error, "take the command", commands / name) from error
        found.append(command)
    return found


def _commands_of(directory: RunDirectory | Path) -> Path:
    return (directory if isinstance(directory, RunDirectory) else RunDirectory(directory)).commands


def _remove(path: Path) -> None:
    try:
        os.unlink(path)
    except (IsADirectoryError, PermissionError):
        os.rename(path, path.with_name(f".{path.name}.refused"))


def _read(path: Path) -> Command:
    identity = path.stem.rpartition("-")[2]
    try:
        data = _content(path)
        record = parse_object(data, STATE)
        identity = _typed(record, "id", str)
        if _typed(record, "v", int) > VERSION:
            raise ValueError("it comes from a newer forge-tui; use the version of the runner")
        arguments = _typed(record, "arguments", dict)
        model = arguments.get("model")
        if isinstance(model, str) and not is_name(model):
            raise ValueError(f"no model has the name {model[:_SHOWN]!r}")
        return Command(
            id=identity,
            name=_typed(record, "name", str),
            arguments=arguments,
            sender=_typed(record, "from", str),
            time=float(_typed(record, "time", int | float)),
        )
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Command(id=identity, name="", problem=f"the command file {path.name} is malformed: {cause}")


def _content(path: Path) -> bytes:
    # Non-blocking: it could be a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a file")
        if status.st_uid not in (os.geteuid(), 0):
            raise ValueError("it belongs to another user")
        if status.st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST} bytes")
        return os.read(descriptor, LARGEST)
    finally:
        os.close(descriptor)


def _typed(record: dict[str, Any], key: str, kind: Any) -> Any:
    value = record.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"`{named(key)}` is {'missing' if key not in record else 'of the wrong type'}")
    return value
