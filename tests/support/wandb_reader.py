"""The records of an offline run of W&B: a log as LevelDB has it, of messages that W&B's own protocol defines.

wandb 0.31 has no reader in Python any more. The log is described in LevelDB's `doc/log_format.md`: blocks of 32 KiB,
records of a header (CRC of four bytes, length of two, type of one) and data, where a message may be in several records.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

_BLOCK, _HEADER, _FILE_HEADER = 32 * 1024, 7, 7
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def messages(path: Path) -> list[bytes]:
    """The whole messages of a file; the last may be still in writing. Fails where a checksum or a type is wrong."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, found, parts = _FILE_HEADER, [], b""
    while place + _HEADER <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            assert not data[place : place + left].strip(b"\0")
            place += left
            continue
        crc, length, kind = struct.unpack_from("<IHB", data, place)
        content = data[place + _HEADER : place + _HEADER + length]
        if len(content) < length:
            break
        assert zlib.crc32(content, zlib.crc32(bytes([kind]))) == crc
        assert kind in ((_WHOLE, _FIRST) if not parts else (_MIDDLE, _LAST))
        parts += content
        if kind in (_WHOLE, _LAST):
            found.append(parts)
            parts = b""
        place += _HEADER + length
    return found


def records(directory: Path) -> list[Any]:
    """The records of the offline run in a directory."""
    from wandb.proto import wandb_internal_pb2

    (path,) = directory.glob("*.wandb")
    return [wandb_internal_pb2.Record.FromString(message) for message in messages(path)]
