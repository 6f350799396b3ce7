"""The status line: its message, how long it is shown, and earlier messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from rich.text import Text

from forge_tui.safe_io.printing import printable

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot

Severity = Literal["information", "warning", "error"]
_KEPT_MESSAGES = 200
_STYLES = {"information": "", "warning": "yellow", "error": "bold red"}


class Status:
    """One message at a time, and the last ones in `messages`: (UNIX seconds, message, severity)."""

    def __init__(self, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        """`changed` is called when the message changes."""
        self.text = Text()
        self.messages: deque[tuple[float, str, str]] = deque(maxlen=_KEPT_MESSAGES)
        self._clock, self._changed = clock, changed
        self._holds: Callable[[Snapshot], bool] | None = None

    @property
    def plain(self) -> str:
        """The message without its style."""
        return self.text.plain

    def tell(
        self, message: str, severity: Severity = "information", *, holds: Callable[[Snapshot], bool] | None = None
    ) -> None:
        """Show a message; it is removed once `holds` is false for a snapshot."""
        self._holds = holds
        if message and (not self.messages or self.messages[-1][1] != message):
            self.messages.append((self._clock(), message, severity))
        mark = "" if severity == "information" else "! "
        self.text = Text(f"{mark}{printable(message)}" if message else "", style=_STYLES[severity])
        self._changed()

    def check(self, snapshot: Snapshot) -> None:
        """Remove the message if it no longer applies."""
        if self._holds is not None and not self._holds(snapshot):
            self.tell("")
