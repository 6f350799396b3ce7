"""The protocol between a UI's process and its server, as Textual's web driver and textual-serve 1.1.3 speak it.

A packet is its kind (`D`: text of the terminal, `M`: a JSON object, `P`: a part of a file), four bytes of length (big
endian) and the content. The process first writes a line that says that it is ready.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import NamedTuple

READY = b"__GANGLION__\n"
DATA, META = b"D", b"M"
_HEAD = 5


class Packet(NamedTuple):
    """One packet."""

    kind: bytes
    content: bytes

    @property
    def meta_type(self) -> str | None:
        """The type of a JSON object; None for other packets and for objects without one."""
        if self.kind != META:
            return None
        try:
            found = json.loads(self.content)
        except ValueError:
            return None
        kind = found.get("type") if isinstance(found, dict) else None
        return kind if isinstance(kind, str) else None


class PacketError(Exception):
    """A process does not keep to the protocol."""


def data_packet(text: str) -> bytes:
    """Keys for the UI. Half a pair, which is no character, becomes `?`."""
    return _packed(DATA, text.encode("utf-8", "replace"))


def meta_packet(kind: str, **values: int) -> bytes:
    """A message for the UI: `resize`, `focus`, `blur`, `quit`."""
    return _packed(META, json.dumps({"type": kind, **values}).encode())


def _packed(kind: bytes, content: bytes) -> bytes:
    return b"%s%s%s" % (kind, len(content).to_bytes(4, "big"), content)


async def read_ready(stream: asyncio.StreamReader, lines: int = 10) -> bool:
    """Whether the process says that it is ready, at the latest in its tenth line."""
    for _ in range(lines):
        try:
            line = await stream.readline()
        except ValueError:  # longer than the stream's limit
            return False
        if line == READY:
            return True
        if not line:
            return False
    return False


async def read_packets(stream: asyncio.StreamReader, longest: int) -> AsyncIterator[Packet]:
    """The packets until the process ends. Raises `PacketError` for one of more than `longest` bytes."""
    while True:
        try:
            head = await stream.readexactly(_HEAD)
            size = int.from_bytes(head[1:], "big")
            if size > longest:
                raise PacketError(f"a packet of {size} bytes, more than {longest}")
            yield Packet(head[:1], await stream.readexactly(size))
        except asyncio.IncompleteReadError:
            return
