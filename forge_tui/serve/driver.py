"""Textual's web driver on descriptors of its own, which ends with its server and loses nothing of a slow pipe."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from textual import events, messages
from textual.app import App
from textual.drivers.web_driver import WebDriver
from textual.geometry import Size


class BrowserDriver(WebDriver):
    """Draws for the server that started this process. Changes describe the behaviour of Textual 8.2.8."""

    def __init__(
        self,
        app: App[Any],
        *,
        output: int,
        first_size: tuple[int, int],
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        """`output`: the descriptor for packets; `first_size`: columns and rows at the start."""
        super().__init__(app, debug=debug, mouse=mouse, size=size or first_size)
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

    def start_application_mode(self) -> None:
        """Start, with the size at the start."""
        self._loop = asyncio.get_running_loop()
        super().start_application_mode()

    def on_meta(self, packet_type: str, payload: dict[str, object]) -> None:
        """Pass a size on behind the one at the start, which Textual's driver would let it overtake."""
        if packet_type != "resize":
            super().on_meta(packet_type, payload)
            return
        size = Size(int(str(payload["width"])), int(str(payload["height"])))
        asyncio.run_coroutine_threadsafe(self._app._post_message(events.Resize(size, size)), self._loop)

    def run_input_thread(self) -> None:
        """Read until the app or the input ends. Textual's driver would go on without a server."""
        super().run_input_thread()
        if not self.exit_event.is_set():
            self._app.post_message(messages.ExitApp())
