"""What a node agent or the bridge has still to send: messages first, and bulk (output, files) in limited pieces."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from forge_tui.engines.ray.frames import Message, encode

BULK_BYTES = 1 << 20
"""A batch has at most this much bulk, so that no message waits behind a large file."""


class Outbox:
    """Frames in two queues, each in order. Thread-safe."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._bulk: deque[bytes] = deque()
        self.bulk_bytes = 0
        """Bytes of bulk that wait."""
        self._is_closed = False
        self.source: Callable[[], bytes | None] = lambda: None
        """Gives a further piece of bulk, when no other bulk waits; asked again and again once it is `poked`."""
        self._is_poked = False
        self._changed = threading.Condition()

    def put(self, message: Message, data: bytes = b"", *, is_bulk: bool = False) -> None:
        """Add a frame."""
        self.put_frame(encode(message, data), is_bulk=is_bulk)

    def put_frame(self, frame: bytes, *, is_bulk: bool = False) -> None:
        """Add an encoded frame."""
        with self._changed:
            if is_bulk:
                self._bulk.append(frame)
                self.bulk_bytes += len(frame)
            else:
                self._messages.append(frame)
            self._changed.notify_all()

    def take(self, seconds: float = 0.0) -> bytes:
        """The next batch; empty if there is nothing for `seconds`, or it is closed."""
        with self._changed:
            self._changed.wait_for(self._has_work, seconds)
            frames = list(self._messages)
            self._messages.clear()
            size = 0
            while self._bulk and (size == 0 or size + len(self._bulk[0]) <= BULK_BYTES):
                frames.append(self._bulk.popleft())
                size += len(frames[-1])
            self.bulk_bytes -= size
            asks = self._is_poked and not size
            self._is_poked = self._is_poked and not asks
        if asks and (piece := self.source()) is not None:
            frames.append(piece)
            self.poke()
        return b"".join(frames)

    def _has_work(self) -> bool:
        return bool(self._messages or self._bulk or self._is_poked or self._is_closed)

    def poke(self) -> None:
        """Note that the source has something to give."""
        with self._changed:
            self._is_poked = True
            self._changed.notify_all()

    def close(self) -> None:
        """End a waiting `take`."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
