"""Files on their way from a node to the runner, in pieces, each with a message that is sent behind its last piece."""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from forge_tui.engines.ray.frames import Message, encode

PIECE_BYTES = 1 << 20


@dataclass(slots=True, eq=False)
class _Item:
    """A file, or only a message (`file` is None). `replaces`: items with this key that have not begun are dropped."""

    worker: int
    path: str
    file: BinaryIO | None
    then: Message
    replaces: str | None
    offset: int = 0


@dataclass(slots=True)
class _Line:
    """What one worker sends, in order."""

    items: deque[_Item] = field(default_factory=deque)


class Outgoing:
    """A line of files for each worker; pieces are taken from the lines in turn. Thread-safe."""

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}
        self._turn: deque[int] = deque()
        self._lock = threading.Lock()

    def add(self, worker: int, place: Path | None, path: str, then: Message, replaces: str | None = None) -> bool:
        """Queue the file at `place`, to be known as `path`, or only the message `then`.

        The file is opened now: what deletes it meanwhile does not matter. Returns whether it could be. Of files with
        the same `replaces` only the newest is sent, with its message, unless an earlier one is on its way.
        """
        try:
            file = None if place is None else open(place, "rb")  # noqa: SIM115 - closed with its last piece
        except OSError:
            return False
        with self._lock:
            line = self._lines.setdefault(worker, _Line())
            if replaces is not None:
                for old in [old for old in line.items if old.replaces == replaces and not old.offset]:
                    line.items.remove(old)
                    if old.file is not None:
                        old.file.close()
            line.items.append(_Item(worker, path, file, then, replaces))
            if worker not in self._turn:
                self._turn.append(worker)
        return True

    def next_frame(self) -> bytes | None:
        """The next piece as a frame; None if there is none."""
        with self._lock:
            if not self._turn:
                return None
            worker = self._turn.popleft()
            line = self._lines[worker]
            item = line.items[0]
            frame, is_done = self._piece(item)
            if is_done:
                line.items.popleft()
            if line.items:
                self._turn.append(worker)
            else:
                del self._lines[worker]
            return frame

    @staticmethod
    def _piece(item: _Item) -> tuple[bytes, bool]:
        if item.file is None:
            return encode(item.then), True
        data = item.file.read(PIECE_BYTES)
        size = os.fstat(item.file.fileno()).st_size
        offset, item.offset = item.offset, item.offset + len(data)
        is_last = item.offset >= size or not data
        message: Message = {"a": "file", "w": item.worker, "path": item.path, "offset": offset}
        if is_last:
            item.file.close()
            message["then"] = item.then
        return encode(message, data), is_last
