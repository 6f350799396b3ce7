"""The files that TensorBoard reads, byte by byte: records of TensorFlow's `Event` messages.

A record is its length, its data, and a masked CRC-32C of each (TensorFlow, `core/lib/io/record_writer.h`). An event is
in protobuf's wire format (`core/util/event.proto`, `core/framework/summary.proto`). So little of it is needed that
the packages `tensorboard` and grpc are not.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Mapping

# The version in the first record of a file.
_VERSION = b"brain.Event:2"
_CASTAGNOLI = 0x82F63B78
_MASK = 0xA282EAD8
# Wire types of protobuf.
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


def first_record(time: float) -> bytes:
    """The first record of a file, made at `time` (UNIX seconds)."""
    return _record(_field(1, _EIGHT_BYTES, struct.pack("<d", time)) + _field(3, _BYTES, _VERSION))


def figures_record(time: float, step: int, figures: Mapping[str, float]) -> bytes:
    """A record of `figures` by tag, as 32-bit floats, at `time` (UNIX seconds) and `step` (at least 0)."""
    values = b"".join(
        _field(1, _BYTES, _field(1, _BYTES, tag.encode()) + _field(2, _FOUR_BYTES, _single(value)))
        for tag, value in figures.items()
    )
    when = _field(1, _EIGHT_BYTES, struct.pack("<d", time))
    return _record(when + _field(2, _VARINT, _varint(step)) + _field(5, _BYTES, values))


def masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli), masked: a CRC over data that contains CRCs would be weak."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


@functools.cache
def _crc_table() -> tuple[int, ...]:
    found = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
        found.append(crc)
    return tuple(found)


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def _field(number: int, wire: int, value: bytes) -> bytes:
    return bytes([number << 3 | wire]) + (_varint(len(value)) if wire == _BYTES else b"") + value


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _single(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:  # e.g. a perplexity; infinite in 32 bits
        return struct.pack("<f", math.copysign(math.inf, value))
