"""Steering the watched run from the UI: each key becomes a command to the runner, and its answers are told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from textual import work

from forge_tui.errors import ForgeError
from forge_tui.protocol import transitions
from forge_tui.protocol.phases import RunState
from forge_tui.tui.run_app import RunApp

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.snapshot import ModelState, Snapshot

_NAMED = 3
ANSWER_SECONDS = 5.0
# The last answer to these may be a long way off: a step of an hour, a checkpoint of gigabytes.
_DOING = {"pause": "pausing", "cancel": "cancelling", "workers": "changing the workers", "stop": "stopping"}


class SteeringApp(RunApp):
    """An app that steers the run it watches."""

    def send_commands(self, name: str, arguments: list[dict[str, Any]]) -> None:
        """Send one command for each of `arguments`; tell when they were sent, answered, and carried out."""
        run = self.run_watched
        if run is None:
            self.tell("No run is watched: 3 shows the known ones.", "warning")
            return
        sent = time.strftime("%H:%M:%S", time.localtime(self.clock()))
        self.tell(f"{_DOING.get(name, name)}… sent {sent}")
        self.call_in_thread(
            lambda: _send(run, name, arguments, f"ui {self.host}"), then=lambda result: self._answered(name, result)
        )

    def _answered(self, name: str, result: Any) -> None:
        if isinstance(result, ForgeError):
            self.tell(str(result), "error")
            return
        waiting, answers = result
        refused = [answer for answer in answers if answer["outcome"] in ("refused", "failed")]
        if waiting:
            self.tell(f"{name}: no answer for {ANSWER_SECONDS:g} s; the command is kept for the runner", "warning")
        elif refused:
            self.tell(f"{name} {refused[0]['outcome']}: {refused[0]['reason']}", "error")
        else:
            reasons = [answer["reason"] for answer in answers if answer.get("reason")]
            told = f": {reasons[0]}" if reasons else ""
            state = "done" if all(answer["outcome"] == "done" for answer in answers) else "accepted"
            self.tell(f"{name}: {state}{told}")

    # --- the run as a whole

    def action_pause(self) -> None:
        """Pause the run, or let a paused one go on."""
        snapshot = self._live("pause")
        if snapshot is not None:
            self.send_commands("continue" if snapshot.state is RunState.PAUSED else "pause", [{}])

    def action_stop(self) -> None:
        """Ask, then stop after a checkpoint."""
        self._ask_and_send("stop", "Stop the run after a checkpoint?", "s", "Stop after checkpoint")

    def action_kill(self) -> None:
        """Ask, then end the run at once."""
        question = "End the run at once? What was trained since the newest checkpoints is lost."
        self._ask_and_send("kill", question, "k", "End at once")

    @work(group="dialog", exclusive=True)
    async def _ask_and_send(self, command: str, question: str, key: str, label: str) -> None:
        from forge_tui.tui.dialogs.questions import Choice

        if self._live(command) is None:
            return
        if await self.ask(question, (Choice(key, label, command), Choice("b", "Back", "back")), "back") == command:
            self.send_commands(command, [{}])

    @work(group="dialog", exclusive=True)
    async def action_workers(self) -> None:
        """Ask for another number of workers; the resource rules have the last word."""
        from forge_tui.tui.dialogs.questions import Ask

        snapshot = self._live("change the workers of")
        if snapshot is None:
            return
        run = snapshot.run
        question = (
            f"How many workers at once? Now {run.workers} of {run.requested} asked for: {run.limit_reason}. "
            "Fewer: the newest go back to the queue after a checkpoint."
        )
        answer = await self.push_screen_wait(Ask(question, str(run.requested), selected=True))
        if answer is None or not answer.strip():
            return
        if not answer.strip().isascii() or not answer.strip().isdigit():
            self.tell(f"workers: {answer.strip()!r} is no whole number", "error")
            return
        self.send_commands("workers", [{"workers": int(answer)}])

    # --- single models

    @work(group="dialog", exclusive=True)
    async def action_cancel(self) -> None:
        """Ask, then end the models selected by X, or the one in the selected row, after a checkpoint."""
        from forge_tui.tui.dialogs.questions import Choice

        models = self._models_to("cancel")
        if not models:
            return
        question = f"Cancel {_named(models)}? Checkpoints are kept; r trains it again while the run lives."
        choices = (Choice("x", "Cancel after a checkpoint", "cancel"), Choice("b", "Back", "back"))
        if await self.ask(question, choices, "back") == "cancel":
            self.send_commands("cancel", [{"model": model.name} for model in models])

    def action_retry(self) -> None:
        """Train the models selected by X, or the one in the selected row, again: failed or cancelled ones."""
        models = self._models_to("retry")
        if models:
            self.send_commands("retry", [{"model": model.name} for model in models])

    def _models_to(self, command: str) -> list[ModelState]:
        """The models a command is about, of those that it can be about; says so where there are none."""
        snapshot = self._live(command)
        if snapshot is None:
            return []
        names = self.front.chosen_models() if self.front is not None else set()
        models = [model for model in snapshot.models if model.name in names]
        if not models:
            self.tell(f"No model is selected to {command}.", "warning")
            return []
        fitting = [model for model in models if transitions.model_refusal(command, model.name, model.phase) is None]
        if not fitting:
            reason = transitions.model_refusal(command, models[0].name, models[0].phase)
            self.tell(f"Nothing to {command}: {reason}.", "warning")
        return fitting

    def _live(self, command: str) -> Snapshot | None:
        """The snapshot of a live run, or None after saying what there is instead."""
        snapshot = self.snapshot
        if snapshot is None:
            self.tell(f"Nothing to {command}: no run is watched; 3 shows the known ones.", "warning")
            return None
        if not snapshot.state.is_live:
            self.tell(f"Nothing to {command}: the run is {snapshot.state}; R goes on with it.", "warning")
            return None
        return snapshot


def _send(run: Run, name: str, arguments: list[dict[str, Any]], sender: str) -> tuple[int, list[dict[str, Any]]]:
    """Send the commands; how many got no answer within 5 s, and the last answers of the others."""
    sent = [run.control(name, given, sender=sender) for given in arguments]
    deadline = time.monotonic() + ANSWER_SECONDS
    answers = []
    for command in sent:
        answer = run.answer(command, max(0.1, deadline - time.monotonic()))
        if answer is not None and answer["outcome"] == "accepted" and name not in ("stop", "kill"):
            answer = run.answer(command, max(0.1, deadline - time.monotonic()), done=True) or answer
        if answer is not None:
            answers.append(answer)
    return len(sent) - len(answers), answers


def _named(models: list[ModelState]) -> str:
    if len(models) <= _NAMED:
        return ", ".join(model.name for model in models)
    return f"{len(models)} selected models"
