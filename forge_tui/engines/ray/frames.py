"""Frames: JSON messages with bytes behind them, as runner, bridge and node agents exchange them.

Nothing is unpickled.
"""

from __future__ import annotations

import json
import struct
from typing import Any

Message = dict[str, Any]
Frame = tuple[Message, bytes]
_LENGTHS = struct.Struct("!II")
_COMPACT = json.JSONEncoder(separators=(",", ":"))
_LONGEST = 256 << 20


def encode(message: Message, data: bytes = b"") -> bytes:
    """One frame."""
    header = _COMPACT.encode(message).encode()
    return b"".join((_LENGTHS.pack(len(header), len(data)), header, data))


class FrameBuffer:
    """Splits what a socket or a call delivers into frames; one that is cut off is never returned."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. Raises `ValueError` for what is no frame."""
        self._pending += data
        found: list[Frame] = []
        place = 0
        while len(self._pending) - place >= _LENGTHS.size:
            header, size = _LENGTHS.unpack_from(self._pending, place)
            if header + size > _LONGEST:
                raise ValueError(f"a frame of {header + size} bytes: the longest has {_LONGEST}")
            start = place + _LENGTHS.size
            end = start + header + size
            if len(self._pending) < end:
                break
            message: Message = json.loads(self._pending[start : start + header])
            found.append((message, bytes(self._pending[start + header : end])))
            place = end
        del self._pending[:place]
        return found


def decode(data: bytes) -> list[Frame]:
    """The frames that `data` consists of."""
    return FrameBuffer().feed(data)
