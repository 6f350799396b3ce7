"""Passes a new snapshot to the screens, the status line, the terminal's title and its bell."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from forge_tui.protocol.phases import RunState
from forge_tui.safe_io.printing import printable
from forge_tui.tui.follow import Turn
from forge_tui.tui.messages import RunRemoved, SnapshotChanged

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.tui.navigation import Navigation
    from forge_tui.tui.run_controller import RunController
    from forge_tui.tui.status import Severity, Status
    from forge_tui.tui.terminal.terminal_app import TerminalApp


class RunNews:
    """Reports changes of the watched run."""

    def __init__(
        self,
        terminal: TerminalApp,
        controller: RunController,
        navigation: Navigation,
        status: Status,
        *,
        host: str,
        bell: bool,
    ) -> None:
        """`bell`: whether to ring the terminal's bell."""
        self._terminal, self._controller, self._navigation, self._status = terminal, controller, navigation, status
        self._host, self._bell = host, bell
        self._title = ""

    def take(self, message: SnapshotChanged) -> None:
        """Pass a new snapshot to the screens."""
        snapshot, before = message.snapshot, self._controller.snapshot
        came = self._controller.take(message)
        if came is None:
            return
        self._show_title(f"{self._host} {printable(snapshot.title)} {snapshot.overall_percent:.0f}%")
        self._status.check(snapshot)
        if came in (Turn.ENDED, Turn.UNFINISHED):
            self._tell_the_end(snapshot)
        elif came is Turn.RESUMED and not self._controller.is_starting:
            self._controller.started_here = False
            self._status.tell(f"run {snapshot.run.run} was resumed elsewhere, and continues")
        if self._bell and (came is Turn.ENDED or (before is not None and snapshot.failed > before.failed)):
            self._terminal.bell()
        for screen in self._navigation.screens():
            screen.draw_shell()
            screen.show(snapshot)
            screen.add_events(message.events)

    def forget(self, message: RunRemoved) -> None:
        """Report that the run no longer exists, and stop showing it."""
        if not self._controller.forget(message):
            return
        self._show_title(self._host)
        for screen in self._navigation.screens():
            screen.forget_run()
        self._status.tell(f"{message.what}: Esc goes back", "warning")

    def _tell_the_end(self, snapshot: Snapshot) -> None:
        from forge_tui.tui.screens.watch_text import ending_text

        severity: Severity = "information" if snapshot.state is RunState.COMPLETED else "error"
        self._status.tell(ending_text(snapshot), severity, holds=partial(_is_still, snapshot.state))

    def _show_title(self, title: str) -> None:
        if title != self._title:
            self._title = title
            self._terminal.set_terminal_title(title)


def _is_still(state: RunState, snapshot: Snapshot) -> bool:
    return snapshot.state is state
