"""Leaving the app: at once, or after a question where a live run was started here."""

from __future__ import annotations

import asyncio

from textual import work

from forge_tui.protocol.phases import RunState
from forge_tui.safe_io.printing import printable, shell_word
from forge_tui.tui.steering_app import SteeringApp


class LeavingApp(SteeringApp):
    """An app that says on leaving what becomes of the run, and how to come back to it."""

    _leaves_once_begun = False

    def action_detach(self) -> None:
        """Leave the run going, and leave."""
        if self.is_starting:
            self._leave_while_starting()
        else:
            self._leave_with_status()

    @work(group="dialog", exclusive=True)
    async def action_leave(self) -> None:
        """Leave; ask first where a live run was started here."""
        from forge_tui.tui.dialogs.questions import Choice

        if self.is_starting:
            self._leave_while_starting()
            return
        snapshot = self.snapshot
        if not self.started_here or snapshot is None or not snapshot.state.is_live:
            self._leave_with_status()
            return
        goes_on = "It goes on without this terminal"
        but = "".join(f", but ends with this {what}" for what in _endings()[:1])
        answer = await self.ask(
            f"{snapshot.run.run} is being trained. {goes_on}{but}.",
            (
                Choice("d", "Detach: leave it going", "detach"),
                Choice("s", "Stop after checkpoint", "stop"),
                Choice("k", "Stop now (loses the work since the checkpoint)", "kill"),
                Choice("b", "Back", "back"),
            ),
            "detach",
        )
        if answer == "detach":
            self._leave_with_status()
        elif answer in ("stop", "kill"):
            self.send_commands(answer, [{}])
            self._leave_when_ended()

    def _leave_while_starting(self) -> None:
        """Leave as soon as the run has begun, and say where it is; asked again, at once."""
        if self._leaves_once_begun:
            self.farewell = "a run is being started; `forge-tui attach` shows it once it has begun"
            self.exit(0, return_code=0)
            return
        self._leaves_once_begun = True
        self.tell("The run is starting, and goes on: leaving once it has begun (q: at once)")
        self._leave_once_begun()

    @work(group="leaving", exclusive=True)
    async def _leave_once_begun(self) -> None:
        before = self.run_watched
        while self.is_starting or (self.run_watched is not before and self.snapshot is None):
            await asyncio.sleep(0.05)
        self._leaves_once_begun = False
        if self.run_watched is not before:  # else it was refused, which is told
            self._leave_with_status()

    @work(group="leaving", exclusive=True)
    async def _leave_when_ended(self) -> None:
        while self.snapshot is not None and self.snapshot.state.is_live:
            await asyncio.sleep(0.1)
        self._leave_with_status()

    def _leave_with_status(self) -> None:
        snapshot = self.snapshot
        status = 0
        if snapshot is not None:
            run = snapshot.run
            told = [f"{printable(run.run)} {snapshot.state}: {snapshot.completed}/{len(snapshot.models)} done"]
            told.append(f"forge-tui attach {shell_word(run.path)}")
            if snapshot.state.is_live:
                told += [f"It ends with this {what}; `forge-tui doctor` says why." for what in _endings()]
            self.farewell = "\n".join(told)
            status = 1 if snapshot.failed or snapshot.state in (RunState.FAILED, RunState.DIED) else 0
        self.exit(status, return_code=status)


def _endings() -> list[str]:
    """What would end a run that is left alone here: a batch job, a container, a login (0.3 ms)."""
    from forge_tui.resources.lifetime import endings  # here: most starts never ask
    from forge_tui.resources.system_probe import SystemProbe

    return [ending.what for ending in endings(SystemProbe())]
