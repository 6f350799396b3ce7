"""What one server and one session may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server. Lengths in bytes, times in seconds."""

    sessions: int = 8
    """Open at once. Each has a process of its own, of about 50 MB."""
    message: int = 64 * 1024
    """A message from a browser: a key, or a pasted text."""
    unread: int = 1024 * 1024
    """Keys that the UI has not read yet."""
    packet: int = 16 * 1024 * 1024
    """One part of the screen from the UI."""
    columns: tuple[int, int] = (10, 500)
    rows: tuple[int, int] = (4, 200)
    idle: float = 12 * 3600.0
    """Without a key, a click or a move of the mouse; the page itself answers pings for as long as it is open."""
    send: float = 30.0
    """For a browser to take one part of the screen."""
    start: float = 60.0
    """From the start of the UI's process to its first part of the screen."""
    quit: float = 2.0
    """For the UI to end when it is asked to; then it gets SIGTERM."""
    terminate: float = 1.0
    """From SIGTERM to SIGKILL."""
    heartbeat: float = 15.0
    """Between two pings. A browser that has not answered after half of it is gone."""

    def fit(self, columns: int, rows: int) -> tuple[int, int]:
        """A terminal's size within the limits."""
        return (
            min(max(columns, self.columns[0]), self.columns[1]),
            min(max(rows, self.rows[0]), self.rows[1]),
        )
