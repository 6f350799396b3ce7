"""Leaving the app: at once, or after a question if a live run was started here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from forge_tui.protocol.phases import RunState
from forge_tui.resources.lifetime import endings
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.safe_io.printing import printable, shell_word
from forge_tui.tui.dialogs.questions import Choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.tui.app_interface import AppInterface


class Leaving:
    """The actions that leave. They report the run's state, and how to come back to it."""

    def __init__(self, app: AppInterface, stop: Callable[[str], None]) -> None:
        """`stop` sends the watched run the command `stop` or `kill`."""
        self._app, self._stop = app, stop
        self._leaves_once_begun = False

    def action_detach(self) -> None:
        """Leave, and let the run continue."""
        if self._app.controller.is_starting:
            self._leave_while_starting()
        else:
            self._leave_with_status()

    def action_leave(self) -> None:
        """Leave; asks first if a live run was started here."""
        controller = self._app.controller
        snapshot = controller.snapshot
        if controller.is_starting:
            self._leave_while_starting()
        elif not controller.started_here or snapshot is None or not snapshot.state.is_live:
            self._leave_with_status()
        else:
            self._app.run_dialog(self._ask_and_leave(snapshot))

    async def _ask_and_leave(self, snapshot: Snapshot) -> None:
        what = "browser" if self._app.surroundings.in_browser else "terminal"
        continues = f"It continues without this {what}"
        but = "".join(f", but ends with this {what}" for what in what_would_end_a_run()[:1])
        answer = await self._app.dialogs.ask(
            f"{snapshot.run.run} is being trained. {continues}{but}.",
            (
                Choice("d", "Detach: it continues", "detach"),
                Choice("s", "Stop after checkpoint", "stop"),
                Choice("k", "Stop now (loses the work since the checkpoint)", "kill"),
                Choice("b", "Back", "back"),
            ),
            "detach",
        )
        if answer == "detach":
            self._leave_with_status()
        elif answer in ("stop", "kill"):
            self._stop(answer)
            self._app.run_worker(self._leave_when_ended(), group="leaving", exclusive=True)

    def _leave_while_starting(self) -> None:
        """Leave as soon as the run has begun, and report its directory; the second time, leave at once."""
        if self._leaves_once_begun:
            self._app.farewell = "a run is being started; `forge-tui attach` shows it once it has begun"
            self._app.exit(0, return_code=0)
            return
        self._leaves_once_begun = True
        self._app.tell("The run is starting, and continues: leaving once it has begun (q: at once)")
        self._app.run_worker(self._leave_once_begun(), group="leaving", exclusive=True)

    async def _leave_once_begun(self) -> None:
        controller = self._app.controller
        before = controller.run
        while controller.is_starting or (controller.run is not before and controller.snapshot is None):
            await asyncio.sleep(0.05)
        self._leaves_once_begun = False
        if controller.run is not before:  # otherwise it was refused, which is reported
            self._leave_with_status()

    async def _leave_when_ended(self) -> None:
        while (snapshot := self._app.controller.snapshot) is not None and snapshot.state.is_live:
            await asyncio.sleep(0.1)
        self._leave_with_status()

    def _leave_with_status(self) -> None:
        snapshot = self._app.controller.snapshot
        status = 0
        if snapshot is not None:
            run = snapshot.run
            lines = [f"{printable(snapshot.title)} {snapshot.state}: {snapshot.completed}/{len(snapshot.models)} done"]
            lines.append(f"forge-tui attach {shell_word(run.path)}")
            if snapshot.state.is_live:
                lines += [f"It ends with this {what}; `forge-tui doctor` says why." for what in what_would_end_a_run()]
            self._app.farewell = "\n".join(lines)
            status = 1 if snapshot.failed or snapshot.state in (RunState.FAILED, RunState.DIED) else 0
        self._app.exit(status, return_code=status)


def what_would_end_a_run() -> list[str]:
    """What would end a detached run here: a batch job, a container, a login (0.3 ms)."""
    return [ending.what for ending in endings(SystemProbe())]
