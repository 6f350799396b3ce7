"""`forge-tui serve` for tests, as a process, and plain requests to it with exactly the headers that are given."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

_SECONDS = 60.0


@dataclass
class Served:
    """A server: its process, its address, and what it has printed."""

    process: subprocess.Popen[str]
    address: str
    stderr: list[str] = field(default_factory=list)
    unix_socket: Path | None = None

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    @property
    def token(self) -> str:
        return urlsplit(self.address).path[1:]

    def request(
        self, path: str, headers: Sequence[tuple[str, str]] = (), *, method: str = "GET", host: str | None = ""
    ) -> Answer:
        """One request. `host`: another one, or None for no such header."""
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.address).port, timeout=_SECONDS)
        if self.unix_socket is not None:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(_SECONDS)
            connection.sock.connect(str(self.unix_socket))
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in (("Host", host or self.host),) if host is not None else ():
                connection.putheader(name, value)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            body = b"" if response.status == 101 else response.read()
            return Answer(response.status, response.headers, body)

    def open(self) -> tuple[str, str]:
        """Open the address; returns the page's path and its `Cookie` header."""
        answer = self.request(f"/{self.token}")
        assert answer.status == 303, answer
        return answer.headers["Location"], answer.headers["Set-Cookie"].split(";")[0]

    def sessions(self) -> list[psutil.Process]:
        """The processes of the open sessions."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "forge_tui.serve.child" in child.cmdline():
                    found.append(child)
        return found


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@contextlib.contextmanager
def serving(*options: str, cwd: Path, unix_socket: Path | None = None, status: int = 0) -> Iterator[Served]:
    """Run `forge-tui serve` in `cwd` until the block ends; then it must end by itself with this status."""
    where = ("--port", "0") if unix_socket is None else ("--socket", str(unix_socket))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "forge_tui", "serve", *where, *options],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []
    reading = threading.Thread(target=lambda lines=process.stderr: said.extend(lines))
    reading.start()
    try:
        address = process.stdout.readline().strip()
        assert address, "".join(said)
        yield Served(process, address, said, unix_socket)
        process.terminate()
        assert process.wait(_SECONDS) == status, "".join(said)
        assert process.stdout.read() == "", "the address is printed once, and nothing else"
    finally:
        process.kill()
        process.wait()
        reading.join()
