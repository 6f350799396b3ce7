"""Textual's web driver on descriptors of its own, which ends with its server and loses nothing of a slow pipe."""

from __future__ import annotations

import os
from typing import Any

from textual import messages
from textual.app import App
from textual.drivers.web_driver import WebDriver


class BrowserDriver(WebDriver):
    """Draws for the server that started this process. Changes describe the behaviour of Textual 8.2.8."""

    def __init__(
        self,
        app: App[Any],
        *,
        output: int,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        """`output`: the descriptor for packets."""
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._output = output
        self._is_gone = False
        self._write = self._write_all  # type: ignore[assignment]

    def _write_all(self, data: bytes) -> int:
        """Write a packet whole, waiting for a slow browser; nothing once the server is gone."""
        left = memoryview(data)
        while left and not self._is_gone:
            try:
                left = left[os.write(self._output, left) :]
            except OSError:
                self._is_gone = True
        return len(data)

    def run_input_thread(self) -> None:
        """Read until the app or the input ends. Textual's driver would go on without a server."""
        super().run_input_thread()
        if not self.exit_event.is_set():
            self._app.post_message(messages.ExitApp())
