"""What a TensorBoard event file holds, read as its public description says and by nothing that writes it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(kw_only=True)
class FoundEvent:
    """One `Event` message."""

    time: float = 0.0
    step: int = 0
    version: str | None = None
    starts: bool = False
    figures: dict[str, float] = field(default_factory=dict)
    plugins: dict[str, bytes] = field(default_factory=dict)
    """What is for a plugin, by its tag."""


def read_events(path: Path) -> list[FoundEvent]:
    """Every event of a file. Fails where a length, a checksum or a field is not as described."""
    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack_from("<Q", data)
        content = data[12 : 12 + length]
        assert len(data) >= 16 + length, "the last record is cut off"
        assert struct.unpack_from("<I", data, 8)[0] == _masked(data[:8])
        assert struct.unpack_from("<I", data, 12 + length)[0] == _masked(content)
        events.append(_event(content))
        data = data[16 + length :]
    return events


def _event(data: bytes) -> FoundEvent:
    found = FoundEvent()
    for number, value in _fields(data):
        match number:
            case 1:
                (found.time,) = struct.unpack("<d", value)
            case 2:
                found.step = int.from_bytes(value, "big")
            case 3:
                found.version = value.decode()
            case 5:
                for _, one in _fields(value):
                    parts = dict(_fields(one))
                    if 9 in parts:
                        found.plugins[parts[1].decode()] = dict(_fields(dict(_fields(parts[9]))[1]))[2]
                        continue
                    (found.figures[parts[1].decode()],) = struct.unpack("<f", parts[2])
            case 7:
                found.starts = dict(_fields(value))[1] == b"\0" * 7 + b"\1"
            case _:
                raise AssertionError(f"field {number}")
    return found


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The number and the content of each field of a message; whole numbers as big-endian bytes."""
    place = 0
    while place < len(data):
        key, place = _whole(data, place)
        match key & 7:
            case 0:
                number, place = _whole(data, place)
                yield key >> 3, number.to_bytes(8, "big")
                continue
            case 1:
                size = 8
            case 2:
                size, place = _whole(data, place)
            case 5:
                size = 4
            case other:
                raise AssertionError(f"wire type {other}")
        assert place + size <= len(data)
        yield key >> 3, data[place : place + size]
        place += size


def _whole(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place


def _masked(data: bytes) -> int:
    """CRC-32C bit by bit, then turned right by 15 bits, and a constant added."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
