"""The runner's side of the bridge: the process that is Ray's driver, and the socket to it."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from typing import Protocol

from forge_tui.engines.ray.frames import Frame, FrameBuffer, Message, encode

_READ_SIZE = 1 << 20
_END_SECONDS = 20.0


class Link(Protocol):
    """What the engine needs of the bridge. Its methods are called in the thread that waits on the selector."""

    def send(self, message: Message, data: bytes = b"") -> None:
        """Send a frame, without waiting."""

    def hang_up(self) -> None:
        """Ask the bridge to end everything; `close` waits for that."""

    def close(self) -> None:
        """End the bridge, and with it the agents and a cluster that was started."""


OpenLink = Callable[[selectors.BaseSelector, Callable[[Frame], None], Callable[[str], None], int], Link]
"""Opens a link: gets the selector, what takes the frames, what is called (with words) when the bridge is gone, and the
descriptor for the bridge's own output."""


class BridgeLink:
    """A bridge in a process of its own."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        on_frame: Callable[[Frame], None],
        on_gone: Callable[[str], None],
        output: int,
    ) -> None:
        self._selector, self._on_frame, self._on_gone = selector, on_frame, on_gone
        self._buffer, self._unsent = FrameBuffer(), deque[memoryview]()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "forge_tui.engines.ray.bridge", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._socket.setblocking(False)
        self._is_open = True
        selector.register(self._socket, selectors.EVENT_READ, self._serve)

    def send(self, message: Message, data: bytes = b"") -> None:
        """Send a frame; what the bridge does not take now is sent later."""
        if self._is_open:
            self._unsent.append(memoryview(encode(message, data)))
            self._write()

    def _serve(self) -> None:
        self._write()
        while self._is_open:
            try:
                data = self._socket.recv(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._leave()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_SECONDS)
                self._on_gone(f"the process that was connected to Ray has ended (status {self._process.returncode})")
                return
            for frame in self._buffer.feed(data):
                self._on_frame(frame)

    def _write(self) -> None:
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent[0])
                if sent == len(self._unsent[0]):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = self._unsent[0][sent:]
        except BlockingIOError:
            pass
        except OSError:
            return  # it has ended; reading reports that
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if self._is_open and self._selector.get_key(self._socket).events != events:
            self._selector.modify(self._socket, events, self._serve)

    def _leave(self) -> None:
        if self._is_open:
            self._is_open = False
            self._selector.unregister(self._socket)
            self._socket.close()

    def hang_up(self) -> None:
        """Close the socket: the bridge ends everything."""
        self._leave()

    def close(self) -> None:
        """Wait until the bridge has ended everything; kill it if that takes too long."""
        self._leave()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
