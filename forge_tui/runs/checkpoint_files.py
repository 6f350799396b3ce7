"""Lists a model's checkpoint files with what they say of themselves, without reading a tensor and without torch."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.record_fields import is_whole
from forge_tui.protocol.rollback import Saved
from forge_tui.runs.inside import open_inside
from forge_tui.runs.names import step_and_attempt
from forge_tui.safe_io.strict_json import Limits, parse_object

_METADATA_KEY = "forge_tui"
# A safetensors file begins with the length of its header (8 bytes, little-endian), a JSON table.
_LENGTH_BYTES = 8
_LARGEST_HEADER = 16 << 20
# A module's own state, with numbers of any size, stands in it too.
_HEADER = Limits(size=_LARGEST_HEADER, depth=500, text=_LARGEST_HEADER, integer=1 << 10_001, unique=False)
_MOST_ATTEMPTS = 10**8  # a higher number is none of ours
_NUMBERS: tuple[tuple[str, Any], ...] = (("epoch", None), ("step", None), ("rollbacks", 0))


@dataclass(frozen=True, slots=True)
class Fence:
    """Which checkpoints count for `attempt`: its own, and those of earlier ones up to `step` (None: all of them).

    What an earlier attempt saves once this one has begun does not.
    """

    attempt: int
    step: int | None = None

    def admits(self, step: int, attempt: int) -> bool:
        """Whether the checkpoint that an attempt saved at `step` counts."""
        if attempt == self.attempt:
            return True
        return attempt < self.attempt and (self.step is None or step <= self.step)


NO_FENCE = Fence(1 << 62)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """One file: size in bytes, time of writing in UNIX seconds. `epoch` and `step` are None with a `problem`.

    `attempt`: the one that saved it; 0 in files of version 0.1.0.

    `rollbacks`: how often the model had gone back after a divergence when it was saved.
    """

    path: Path
    attempt: int
    bytes: int
    written: float
    step: int | None = None
    epoch: int | None = None
    rollbacks: int = 0
    problem: str = ""


def checkpoint_files(directory: Path) -> list[CheckpointFile]:
    """The checkpoints in a model's directory, the newest first; none where there is no such directory.

    Only headers are read: tensors are verified when training continues from them. Raises `OSError` where
    the directory may not be listed.
    """
    try:
        paths = {path: place for path in directory.iterdir() if (place := step_and_attempt(path.name)) is not None}
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (_look_at(path, paths[path][1]) for path in sorted(paths, key=paths.__getitem__, reverse=True))
    return [file for file in found if file is not None]


def newest_attempt(directory: Path) -> int:
    """The number of the newest attempt at a model that has saved a checkpoint; 0 where there is none."""
    try:
        places = [step_and_attempt(name) for name in os.listdir(directory)]
    except OSError:
        return 0
    return max((place[1] for place in places if place is not None and place[1] < _MOST_ATTEMPTS), default=0)


def saved_in(directory: Path, fence: Fence = NO_FENCE) -> list[Saved]:
    """The checkpoints of a model that count and can be read, by their headers, the newest first."""
    try:
        files = checkpoint_files(directory)
    except OSError:
        return []  # what cannot be read now cannot be gone back to either
    return [
        Saved(one.step, one.epoch)
        for one in files
        if one.step is not None and one.epoch is not None and fence.admits(one.step, one.attempt)
    ]


def _look_at(path: Path, attempt: int) -> CheckpointFile | None:
    """The file at `path`; None if it was pruned meanwhile."""
    try:
        with os.fdopen(open_inside(path, path.parent, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is no file but a pipe, a socket or a device")
            size, written = status.st_size, status.st_mtime
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if not 2 <= length <= min(_LARGEST_HEADER, size - _LENGTH_BYTES):
                raise ValueError("its header is cut off")
            header = parse_object(file.read(length), _HEADER)
        record = parse_object(header["__metadata__"][_METADATA_KEY], _HEADER)
        epoch, step, rollbacks = (record.get(name, default) for name, default in _NUMBERS)
        if not (is_whole(epoch) and is_whole(step) and is_whole(rollbacks)):
            raise ValueError("its numbers are never written")
    except FileNotFoundError:
        return None
    except RunDirectoryError:
        return CheckpointFile(
            path=path, attempt=attempt, bytes=0, written=0.0, problem="a symbolic link, which is not followed"
        )
    except OSError as error:
        return CheckpointFile(
            path=path, attempt=attempt, bytes=0, written=0.0, problem=f"cannot be read: {error.strerror}"
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return CheckpointFile(
            path=path, attempt=attempt, bytes=size, written=written, problem="damaged: its header cannot be read"
        )
    return CheckpointFile(
        path=path, attempt=attempt, bytes=size, written=written, step=step, epoch=epoch, rollbacks=rollbacks
    )
