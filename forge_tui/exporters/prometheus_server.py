"""Answers Prometheus over HTTP, on this machine only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from forge_tui.errors import ForgeError, UsageError
from forge_tui.exporters.prometheus import CONTENT_TYPE

_LOOPBACK = "127.0.0.1"
_PATH = "/metrics"
# A page in a browser on this machine must not read it under another name.
_HOSTS = frozenset((_LOOPBACK, "localhost"))
_SECONDS = 0.2


class MetricsServer:
    """Serves the text of `collect` at http://127.0.0.1:PORT/metrics. Close it after `serve_until`."""

    def __init__(self, port: int, collect: Callable[[], str]) -> None:
        """Listens on `port`; 0 chooses a free one. Raises `UsageError`."""

        class Handler(_Handler):
            text = staticmethod(collect)

        try:
            self._server = _Server((_LOOPBACK, port), Handler)
        except OverflowError:
            raise UsageError(f"--listen {port}: must be from 0 to 65535") from None
        except OSError as error:
            advice = "choose another port, or 0 for any that is free"
            raise UsageError(f"--listen {port}: {error.strerror or error}; {advice}") from None

    @property
    def address(self) -> str:
        """Where it is to be scraped."""
        return f"http://{_LOOPBACK}:{self._server.server_port}{_PATH}"

    def serve_until(self, ended: threading.Event) -> None:
        """Answer until `ended` is set."""
        while not ended.is_set():
            self._server.handle_request()

    def close(self) -> None:
        """Close the port."""
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    timeout = _SECONDS
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    text: ClassVar[Callable[[], str]]
    timeout = 10
    server_version, sys_version = "forge-tui", ""

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition("@")[2].partition(":")[0]
        if host not in _HOSTS:
            self._answer(403, f"only http://{_LOOPBACK} and http://localhost are answered\n", "text/plain")
        elif self.path.partition("?")[0] != _PATH:
            self._answer(404, f"the metrics are at {_PATH}\n", "text/plain")
        else:
            try:
                self._answer(200, type(self).text(), CONTENT_TYPE)
            except ForgeError as error:  # the list of runs cannot be read
                self._answer(500, f"{error}\n", "text/plain; charset=utf-8")

    def _answer(self, status: int, text: str, content_type: str) -> None:
        content = text.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: there is a request every few seconds."""
