"""The runner's part in sending files to nodes that do not see the run directory, and in keeping what they send back.

Everything that touches a file runs in a `FileThread`. What a node sends becomes a file of the run under its own name,
written whole, before the message that names it is handled.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from forge_tui.engines.ray.frames import Message
from forge_tui.engines.ray.outgoing import PIECE_BYTES
from forge_tui.protocol.job import Job
from forge_tui.runs.checkpoint_files import Fence, checkpoint_files
from forge_tui.runs.inside import open_inside
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.names import is_inside, result_names, step_and_attempt
from forge_tui.safe_io.whole_files import sync_directory, temporary_name

Manifest = dict[str, Any]
"""What a worker needs: `files` ({path, sha256, is_data} each), and `data`: SHA-256 by the original path."""


class Shipping:
    """Reads and writes files of the run in `directory`. For one thread."""

    def __init__(self, directory: Path, keep: int) -> None:
        """`keep`: how many checkpoints of a model are kept while it trains."""
        self._directory, self._keep = RunDirectory(directory), keep
        self._digests: dict[tuple[str, int, int, int], str] = {}
        self._parts: dict[tuple[int, str], tuple[Path, BinaryIO]] = {}

    def move(self, directory: Path) -> None:
        """Use the new place of the run directory."""
        self._directory = RunDirectory(directory)

    # --- to a node

    def manifest(self, jobs: Sequence[Job], data: Iterable[str]) -> Manifest:
        """The files that a worker with these jobs needs. Raises `OSError`."""
        files = [{"path": f"code/{path}", "sha256": sha256, "is_data": False} for path, sha256 in jobs[0].code.items()]
        for job in jobs:
            fence = Fence(job.attempt, job.inherited_step)
            for found in reversed(checkpoint_files(self._directory.checkpoint_directory(job.model))):
                if found.step is not None and fence.admits(found.step, found.attempt):
                    path = f"checkpoints/{job.model}/{found.path.name}"
                    files.append({"path": path, "sha256": None, "is_data": False})
        digests = {path: self._digest(path) for path in data}
        files += [{"path": path, "sha256": sha256, "is_data": True} for path, sha256 in digests.items()]
        return {"files": files, "data": digests}

    def _digest(self, path: str) -> str:
        """SHA-256 of a file of data, read again only if it was written."""
        with open(path, "rb") as file:
            state = os.fstat(file.fileno())
            key = path, state.st_size, state.st_mtime_ns, state.st_ino
            if key not in self._digests:
                self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[key]

    def piece(self, path: str, offset: int, *, is_data: bool) -> tuple[bytes, bool]:
        """A piece of a file, and whether it is the last. Raises `OSError`."""
        if is_data:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        else:
            if not is_inside(path):
                raise OSError(None, f"{path} is not inside the run directory")
            descriptor = open_inside(self._directory.path / path, self._directory.path, os.O_RDONLY)
        with open(descriptor, "rb") as file:
            file.seek(offset)
            data = file.read(PIECE_BYTES)
            return data, offset + len(data) >= os.fstat(descriptor).st_size or not data

    # --- from a node

    def take(self, worker: int, jobs: Sequence[Job], message: Message, data: bytes) -> None:
        """Take a piece of a file of a worker; with the last one the file appears whole. Raises `OSError`."""
        path, is_last = message["path"], "then" in message
        _require_own(path, jobs)
        key = worker, path
        try:
            if message["offset"] == 0:
                self._begin(key, self._directory.path / path)
            if key not in self._parts:
                raise OSError(None, "its beginning is missing")
            part, file = self._parts[key]
            file.write(data)
            if is_last:
                file.flush()
                os.fsync(file.fileno())
                file.close()
                del self._parts[key]
                os.replace(part, self._directory.path / path)
                sync_directory(part.parent)
        except OSError:
            self._give_up(key)
            raise

    def _begin(self, key: tuple[int, str], place: Path) -> None:
        self._give_up(key)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        part = temporary_name(place)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._parts[key] = part, os.fdopen(descriptor, "wb")

    def _give_up(self, key: tuple[int, str]) -> None:
        if key in self._parts:
            part, file = self._parts.pop(key)
            file.close()
            part.unlink(missing_ok=True)

    def forget(self, worker: int) -> None:
        """Remove what a worker that has ended has sent in part."""
        for key in [key for key in self._parts if key[0] == worker]:
            self._give_up(key)

    def prune(self, model: str, kept: Sequence[str], attempt: int, *, at_the_end: bool) -> None:
        """Delete the checkpoints of a model that its worker has deleted on its node. Raises `OSError`.

        Nothing is deleted while the node has fewer than are to be kept: it was sent only some of them.
        """
        if not kept or (len(kept) < self._keep and not at_the_end):
            return
        newest = max(place for name in kept if (place := step_and_attempt(name)) is not None)
        directory = self._directory.checkpoint_directory(model)
        for name in os.listdir(directory):
            place = step_and_attempt(name)
            if place is not None and name not in kept and place < newest and place[1] <= attempt:
                (directory / name).unlink(missing_ok=True)


def _require_own(path: str, jobs: Sequence[Job]) -> None:
    """Raise `OSError` unless `path` is a checkpoint or a result of one of these attempts."""
    parts = path.split("/")
    for job in jobs:
        if len(parts) == 3 and parts[:2] == ["checkpoints", job.model]:
            place = step_and_attempt(parts[2])
            if parts[2] in result_names(job.attempt) or (place is not None and place[1] == job.attempt):
                return
    raise OSError(None, f"a worker sent {path!r}, which is no file of its attempt")
