"""A small app for `run_app`: every key does one thing that can go wrong around a terminal.

Lines on the file descriptor in REPORT say what the app lives through: `tick` all the time, `unmounted` at its end.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time

from rich.text import Text
from textual.app import ComposeResult
from textual.events import Key, Resize
from textual.geometry import Size
from textual.widgets import Static

from forge_tui.tui.terminal.terminal_app import TerminalApp, run_app


class SmallApp(TerminalApp):
    """Shows what it has seen in one line, and floods the rest of the screen when asked."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [  # noqa: RUF012 (as Textual has it)
        ("q", "leave_with(0)"),
        ("f", "leave_with(7)"),
        ("ctrl+z", "suspend_process"),
        ("ctrl+l", "redraw"),
        ("c", "crash"),
        ("w", "crash_in_worker"),
        ("b", "block"),
        ("s", "flood"),
        ("m", "set_mouse_on(False)"),
        ("t", "title"),
    ]
    CSS = "Toast { width: 76; } #flood { height: 1fr; color: red; background: blue; }"
    seen = ""
    shown_size = Size(0, 0)

    def compose(self) -> ComposeResult:
        yield Static("", id="line", markup=False)
        yield Static("", id="flood", markup=False)

    def on_mount(self) -> None:
        self.farewell = "farewell \u2013 forge-tui attach 1\x1b[31m"
        self.set_interval(0.02, self.tick)
        self.show()

    def on_unmount(self) -> None:
        report("unmounted")

    def on_resize(self, event: Resize) -> None:
        self.shown_size = event.size  # this handler comes before the app's own, which sets `size`
        self.show()

    def on_key(self, event: Key) -> None:
        if event.is_printable:
            self.seen += event.character or ""
            self.show()

    def show(self) -> None:
        self.query_one("#line", Static).update(
            f"ready keys={self.seen} size={self.shown_size.width}x{self.shown_size.height}"
        )

    def tick(self) -> None:
        report("tick")

    def action_leave_with(self, code: int) -> None:
        self.exit(return_code=code)

    def action_crash(self) -> None:
        raise ValueError("broken \x1b[31mon purpose")

    def action_crash_in_worker(self) -> None:
        self.run_worker(self.fail_soon())

    async def fail_soon(self) -> None:
        raise LookupError("broken in a worker")

    def action_block(self) -> None:
        report("blocked")
        while True:
            time.sleep(1)

    def action_flood(self) -> None:
        self.set_interval(1 / 60, self.flood)

    def flood(self) -> None:
        letters = "".join(random.choices("abcdefgh", k=20_000))
        self.query_one("#flood", Static).update(Text(letters))

    def action_set_mouse_on(self, on: bool) -> None:
        self.set_mouse(on)

    def action_title(self) -> None:
        self.set_terminal_title("a title \x07\x1b[31m")


def report(what: str) -> None:
    """Tell the test; it may have stopped listening."""
    with contextlib.suppress(OSError):
        os.write(int(os.environ["REPORT"]), f"{what}\n".encode())


if __name__ == "__main__":
    status = run_app(SmallApp())
    report("returned")
    sys.exit(status)
