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
# `SessionLog.START`, `Status.STATUS_SUCCESS`, `DataType.DT_FLOAT`.
_START, _SUCCESS, _FLOAT = 1, 1, 1


def first_record(time: float) -> bytes:
    """The first record of a file, made at `time` (UNIX seconds)."""
    return _record(_field(1, _EIGHT_BYTES, struct.pack("<d", time)) + _field(3, _BYTES, _VERSION))


def figures_record(time: float, step: int, figures: Mapping[str, float]) -> bytes:
    """A record of `figures` by tag, as 32-bit floats, at `time` (UNIX seconds) and `step` (at least 0)."""
    values = b"".join(
        _field(1, _BYTES, _field(1, _BYTES, _utf8(tag)) + _field(2, _FOUR_BYTES, _single(value)))
        for tag, value in figures.items()
    )
    when = _field(1, _EIGHT_BYTES, struct.pack("<d", time))
    return _record(when + _field(2, _VARINT, _varint(step)) + _field(5, _BYTES, values))


def start_record(time: float, step: int) -> bytes:
    """A record of a session that starts at `step`: a second one discards what has that step or a later one.

    TensorBoard's Python reader does that for all tags; its Rust reader ignores it, and discards by tag, when a step is
    not larger than the last one.
    """
    when = _field(1, _EIGHT_BYTES, struct.pack("<d", time)) + _field(2, _VARINT, _varint(step))
    return _record(when + _field(7, _BYTES, _field(1, _VARINT, _varint(_START))))


def settings_record(time: float, name: str, settings: Mapping[str, bool | float | str]) -> bytes:
    """A record for the HParams dashboard: a row called `name` with settings, of a model that started at `time`."""
    entries = b"".join(
        _field(1, _BYTES, _field(1, _BYTES, _utf8(name)) + _field(2, _BYTES, _json_value(value)))
        for name, value in settings.items()
    )
    begun = _field(4, _BYTES, _utf8(name)) + _field(5, _EIGHT_BYTES, struct.pack("<d", time))
    return _settings_part(time, "session_start_info", _field(3, _BYTES, entries + begun))


def success_record(time: float) -> bytes:
    """A record for the HParams dashboard: the model was completed at `time`."""
    ended = _field(1, _VARINT, _varint(_SUCCESS)) + _field(2, _EIGHT_BYTES, struct.pack("<d", time))
    return _settings_part(time, "session_end_info", _field(4, _BYTES, ended))


def _settings_part(time: float, name: str, content: bytes) -> bytes:
    """A value of the plugin `hparams` (`plugins/hparams/plugin_data.proto`, version 0) and an empty tensor."""
    plugin = _field(1, _BYTES, b"hparams") + _field(2, _BYTES, content)
    empty = _field(1, _VARINT, _varint(_FLOAT)) + _field(2, _BYTES, _field(2, _BYTES, b""))
    value = _field(1, _BYTES, f"_hparams_/{name}".encode()) + _field(8, _BYTES, empty)
    value += _field(9, _BYTES, _field(1, _BYTES, plugin))
    when = _field(1, _EIGHT_BYTES, struct.pack("<d", time)) + _field(2, _VARINT, _varint(0))
    return _record(when + _field(5, _BYTES, _field(1, _BYTES, value)))


def _json_value(value: bool | float | str) -> bytes:
    """A `google.protobuf.Value`."""
    if isinstance(value, bool):
        return _field(4, _VARINT, _varint(value))
    if isinstance(value, int | float):
        return _field(2, _EIGHT_BYTES, struct.pack("<d", value))
    return _field(3, _BYTES, _utf8(value))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


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
