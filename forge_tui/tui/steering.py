"""Controls the watched run: each key sends a command to the runner, and its answers are shown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_tui.protocol import transitions
from forge_tui.protocol.phases import RunState
from forge_tui.tui.dialogs.questions import Ask, Choice

if TYPE_CHECKING:
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.messages import CommandsAnswered

_NAMED = 3
# The last answer to these may take long: a step of an hour, a checkpoint of gigabytes.
_DOING = {"pause": "pausing", "cancel": "cancelling", "workers": "changing the workers", "stop": "stopping"}
_NO_RUN = "No run is watched: 3 shows the known ones."


class Steering:
    """Actions on the watched run, and on the selected models."""

    def __init__(self, app: AppInterface) -> None:
        self._app = app

    def send(self, name: str, arguments: list[dict[str, Any]]) -> None:
        """Send one command per item of `arguments`; shows when they are sent, answered, and carried out."""
        app = self._app
        if app.controller.run is None:
            app.tell(_NO_RUN, "warning")
            return
        sent = time.strftime("%H:%M:%S", time.localtime(app.clock()))
        app.tell(f"{_DOING.get(name, name)}… sent {sent}")
        app.controller.send(name, arguments, f"ui {app.host}")

    def tell_answers(self, message: CommandsAnswered) -> None:
        """Show the runner's answers."""
        name = f"{message.name} {message.run}".rstrip()
        answers, tell = message.answers, self._app.tell
        refused = [answer for answer in answers if answer["outcome"] in ("refused", "failed")]
        if message.error:
            tell(message.error, "error")
        elif message.waiting:
            tell(f"{name}: no answer for {message.seconds:g} s; the command is kept for the runner", "warning")
        elif refused:
            tell(f"{name} {refused[0]['outcome']}: {refused[0]['reason']}", "error")
        else:
            reasons = [answer["reason"] for answer in answers if answer.get("reason")]
            reason = f": {reasons[0]}" if reasons else ""
            state = "done" if all(answer["outcome"] == "done" for answer in answers) else "accepted"
            tell(f"{name}: {state}{reason}")

    # --- the run as a whole

    def action_pause(self) -> None:
        """Pause the run, or continue a paused one."""
        snapshot = self._live("pause")
        if snapshot is not None:
            self.send("continue" if snapshot.state is RunState.PAUSED else "pause", [{}])

    def action_stop(self) -> None:
        """Ask, then stop after a checkpoint."""
        self._ask_and_send("stop", "Stop the run after a checkpoint?", "s", "Stop after checkpoint")

    def action_kill(self) -> None:
        """Ask, then end the run at once."""
        question = "End the run at once? The work since the newest checkpoints is lost."
        self._ask_and_send("kill", question, "k", "End at once")

    def _ask_and_send(self, command: str, question: str, key: str, label: str) -> None:
        async def dialog() -> None:
            choices = (Choice(key, label, command), Choice("b", "Back", "back"))
            if await self._app.dialogs.ask(question, choices, "back") == command:
                self.send(command, [{}])

        if self._live(command) is not None:
            self._app.run_dialog(dialog())

    def action_workers(self) -> None:
        """Ask for the number of workers; the resource rules may allow fewer."""
        snapshot = self._live("change the workers of")
        if snapshot is not None:
            self._app.run_dialog(self._ask_for_workers(snapshot))

    async def _ask_for_workers(self, snapshot: Snapshot) -> None:
        run = snapshot.run
        question = (
            f"How many workers at once? Now {run.workers} of {run.requested} requested: {run.limit_reason}. "
            "Fewer: the newest go back to the queue after a checkpoint."
        )
        answer = await self._app.push_screen_wait(Ask(question, str(run.requested), selected=True))
        if answer is None or not answer.strip():
            return
        if not answer.strip().isascii() or not answer.strip().isdigit():
            self._app.tell(f"workers: {answer.strip()!r} is not a whole number", "error")
            return
        self.send("workers", [{"workers": int(answer)}])

    def action_resume(self) -> None:
        """Ask, then continue the watched run."""
        snapshot = self._app.controller.snapshot
        if snapshot is None or snapshot.state.is_live:
            why = "no run is watched." if snapshot is None else "the run is live."
            self._app.tell(f"Nothing to resume: {why}", "warning")
            return
        self._app.run_dialog(self._ask_and_resume(snapshot))

    async def _ask_and_resume(self, snapshot: Snapshot) -> None:
        question = f"Continue {snapshot.run.run} ({snapshot.state})?"
        choices = (Choice("r", "Resume", "resume"), Choice("b", "Back", "back"))
        if await self._app.dialogs.ask(question, choices) == "resume":
            self._app.resume_run(Path(snapshot.run.path))

    # --- single models

    def action_cancel(self) -> None:
        """Ask, then end the models selected by X, or the one in the selected row, after a checkpoint."""
        models = self._models_to("cancel")
        if models:
            self._app.run_dialog(self._ask_and_cancel(models))

    async def _ask_and_cancel(self, models: list[ModelState]) -> None:
        question = f"Cancel {_named(models)}? Checkpoints are kept; r trains it again while the run lives."
        choices = (Choice("x", "Cancel after a checkpoint", "cancel"), Choice("b", "Back", "back"))
        if await self._app.dialogs.ask(question, choices, "back") == "cancel":
            self.send("cancel", [{"model": model.name} for model in models])

    def action_retry(self) -> None:
        """Retry the failed or cancelled models selected by X, or the one in the selected row."""
        models = self._models_to("retry")
        if models:
            self.send("retry", [{"model": model.name} for model in models])

    def _models_to(self, command: str) -> list[ModelState]:
        """The selected models that allow a command; shows why if there are none."""
        snapshot = self._live(command)
        if snapshot is None:
            return []
        names = self._app.front.chosen_models() if self._app.front is not None else set()
        models = [model for model in snapshot.models if model.name in names]
        if not models:
            self._app.tell(f"No model is selected to {command}.", "warning")
            return []
        fitting = [model for model in models if transitions.model_refusal(command, model.name, model.phase) is None]
        if not fitting:
            reason = transitions.model_refusal(command, models[0].name, models[0].phase)
            self._app.tell(f"Nothing to {command}: {reason}.", "warning")
        return fitting

    def _live(self, command: str) -> Snapshot | None:
        """The snapshot of the live run, or None after showing why there is none."""
        snapshot = self._app.controller.snapshot
        if snapshot is None:
            self._app.tell(f"Nothing to {command}: no run is watched; 3 shows the known ones.", "warning")
            return None
        if not snapshot.state.is_live:
            self._app.tell(f"Nothing to {command}: the run is {snapshot.state}; R continues it.", "warning")
            return None
        return snapshot


def _named(models: list[ModelState]) -> str:
    if len(models) <= _NAMED:
        return ", ".join(model.name for model in models)
    return f"{len(models)} selected models"
