"""A session's process for tests: speaks the protocol of Textual's web driver, well or badly. `python THIS MODE …`."""

from __future__ import annotations

import json
import os
import signal
import sys

READY = b"__GANGLION__\n"


def packet(kind: bytes, content: bytes) -> None:
    left = kind + len(content).to_bytes(4, "big") + content
    while left:
        left = left[os.write(1, left) :]


def asked() -> tuple[bytes, bytes] | None:
    """The next packet of the server; None at the end."""
    head = sys.stdin.buffer.read(5)
    if len(head) < 5:
        return None
    return head[:1], sys.stdin.buffer.read(int.from_bytes(head[1:], "big"))


def echo() -> None:
    """Send back what comes: keys as they are, messages as JSON; `end` ends."""
    os.write(1, READY)
    packet(b"D", " ".join(sys.argv[2:]).encode())
    while (found := asked()) is not None:
        kind, content = found
        if kind == b"M" and json.loads(content)["type"] == "quit":
            return
        if content == b"end":
            print("farewell", file=sys.stderr, flush=True)
            packet(b"M", json.dumps({"type": "exit"}).encode())
            return
        packet(b"D", content)


def flood() -> None:
    """Draw without an end."""
    os.write(1, READY)
    while True:
        packet(b"D", bytes(range(32, 96)) * 1024)


def deaf() -> None:
    """Read nothing, and end only when killed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(1, READY)
    packet(b"D", b"deaf")
    while True:
        signal.pause()


def huge() -> None:
    """Announce a packet that is longer than any."""
    os.write(1, READY + b"D" + (2**31).to_bytes(4, "big"))
    signal.pause()


def silent() -> None:
    """Never say that it is ready."""
    signal.pause()


def crash() -> None:
    """End with a traceback."""
    raise SystemExit("Traceback: \x1b[31mno such module")


if __name__ == "__main__":
    {"echo": echo, "flood": flood, "deaf": deaf, "huge": huge, "silent": silent, "crash": crash}[sys.argv[1]]()
