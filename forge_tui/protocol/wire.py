"""Messages between runner, fork server and workers: JSON over local sockets. Nothing is unpickled. No torch here."""

from __future__ import annotations

import array
import json
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

_LENGTH = struct.Struct("!I")
_CHUNK = 1 << 16
_COMPACT = json.JSONEncoder(separators=(",", ":"))  # json.dumps would make one for every message


def send_message(sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send one length-prefixed message, with open file descriptors beside its first byte."""
    payload = _COMPACT.encode(message).encode()
    header = _LENGTH.pack(len(payload))
    if fds:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        sent = sock.sendmsg([header], [rights])
        header = header[sent:]
    sock.sendall(header + payload)


def receive_message(sock: socket.socket, max_fds: int = 0) -> tuple[dict[str, Any], list[int]] | None:
    """Wait for one message and the descriptors sent with it; None when the other side has closed."""
    if max_fds:
        header, fds, _flags, _address = socket.recv_fds(sock, _LENGTH.size, max_fds)
    else:
        header, fds = sock.recv(_LENGTH.size), []
    if not header:
        return None
    header += _receive_exactly(sock, _LENGTH.size - len(header))
    payload = _receive_exactly(sock, _LENGTH.unpack(header)[0])
    return json.loads(payload), list(fds)


def _receive_exactly(sock: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = sock.recv(min(_CHUNK, size - len(received)))
        if not chunk:
            raise ConnectionError("the other side closed in the middle of a message")
        received += chunk
    return bytes(received)


class LineBuffer:
    """Splits what a socket delivers into lines of JSON; a line cut off by a killed sender is never yielded."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the messages that `data` completes."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            yield json.loads(line)


def encode_line(message: dict[str, Any]) -> bytes:
    """One message as a line."""
    return _COMPACT.encode(message).encode() + b"\n"
