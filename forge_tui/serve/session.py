"""One browser's UI: a process of its own, which ends with the session. Runs are other processes, and continue."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence

from forge_tui.safe_io.printing import harmless
from forge_tui.serve.limits import Limits
from forge_tui.serve.packets import DATA, data_packet, meta_packet, read_packets, read_ready

_KEPT_OUTPUT = 4000
_NOT_FOR_THE_UI = ("COLUMNS", "LINES")


class SessionError(Exception):
    """The session cannot continue; the message says why."""


def command_of(*, read_only: bool) -> tuple[str, ...]:
    """The program of a session, without its size. It names no secret."""
    command = (sys.executable, "-P", "-m", "forge_tui.serve.child")
    return (*command, "--read-only") if read_only else command


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a session: this one, without what was meant for another terminal."""
    kept = {
        name: value for name, value in environ.items() if not name.startswith("TEXTUAL") and name not in _NOT_FOR_THE_UI
    }
    return {**kept, "TEXTUAL_COLOR_SYSTEM": "truecolor"}


class Session:
    """Use it as `await start(…)`, `screen()`, `type(…)`, `resize(…)`, and always `await end()`."""

    def __init__(self, command: Sequence[str], limits: Limits) -> None:
        self._command, self._limits = tuple(command), limits
        self._process: Process | None = None
        self._output = b""
        self._reading: asyncio.Task[None] | None = None

    @property
    def last_output(self) -> str:
        """The last of what the process has printed: its farewell, or a traceback."""
        return harmless(self._output.decode(errors="replace")).strip()

    async def start(self, columns: int, rows: int) -> None:
        """Start the process, without a shell and as a session of its own: keys of our terminal do not reach it."""
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            "--size",
            f"{columns}x{rows}",
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environment_of(os.environ),
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read_output(process))

    async def _read_output(self, process: Process) -> None:
        assert process.stderr is not None
        while data := await process.stderr.read(4096):
            self._output = (self._output + data)[-_KEPT_OUTPUT:]

    async def screen(self) -> AsyncIterator[bytes]:
        """What the UI draws, until it ends. Raises `SessionError`, `PacketError`.

        Its other messages (files to download, addresses to open) are dropped: our UI sends none.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        stream = self._process.stdout
        try:
            is_ready = await asyncio.wait_for(read_ready(stream), self._limits.start)
        except TimeoutError:
            raise SessionError(f"the UI did not start within {self._limits.start:g} s") from None
        if not is_ready:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self._limits.quit)
            raise SessionError("the UI did not start")
        async for packet in read_packets(stream, self._limits.packet):
            if packet.kind == DATA:
                yield packet.content
            elif packet.meta_type == "exit":
                with contextlib.suppress(TimeoutError):  # for its farewell
                    await asyncio.wait_for(self._process.wait(), self._limits.quit)
                return

    def type(self, text: str) -> None:
        """Pass keys, or a pasted text. Raises `SessionError` if the UI has not read the earlier ones."""
        self._write(data_packet(text))

    def resize(self, columns: int, rows: int) -> None:
        """Pass the terminal's size. Raises `SessionError`."""
        self._write(meta_packet("resize", width=columns, height=rows))

    def focus(self, has_it: bool) -> None:
        """Pass whether the page has the focus. Raises `SessionError`."""
        self._write(meta_packet("focus" if has_it else "blur"))

    def _write(self, packet: bytes) -> None:
        # Never waits: a closed tab is noticed by whoever reads from the browser.
        assert self._process is not None
        assert self._process.stdin is not None
        stdin = self._process.stdin
        if stdin.transport.get_write_buffer_size() > self._limits.unread:
            raise SessionError("the UI does not answer")
        if not stdin.is_closing():
            stdin.write(packet)

    async def end(self) -> None:
        """End the process: by its protocol, then by SIGTERM, then by SIGKILL; within 3 s with the usual limits."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            await self._end(process)
        if self._reading is not None:
            self._reading.cancel()

    async def _end(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError, RuntimeError):
            process.stdin.write(meta_packet("quit"))
            process.stdin.close()
        rest = asyncio.create_task(_throw_away(process.stdout))  # a UI that waits for a reader cannot end
        try:
            for seconds, signum in ((self._limits.quit, signal.SIGTERM), (self._limits.terminate, signal.SIGKILL)):
                try:
                    await asyncio.wait_for(process.wait(), seconds)
                    return
                except TimeoutError:
                    with contextlib.suppress(ProcessLookupError):
                        process.send_signal(signum)
            await process.wait()
        finally:
            rest.cancel()


async def _throw_away(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass
