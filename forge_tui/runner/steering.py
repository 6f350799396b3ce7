"""Viewers' commands to a live run: checked by the state machines, carried out, answered twice.

First `accepted` or `refused` with the reason, then, when carried out, `done` or `failed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from forge_tui.errors import RunDirectoryError, SettingsError
from forge_tui.protocol import events as happened
from forge_tui.protocol import transitions
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runner.journal import Journal
from forge_tui.runs import commands
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.site import read_site

_WORKERS = "training.max_parallel_workers"
MOST_WORKERS = 100_000


class Steered(Protocol):
    """The controls of a run; each takes effect with a delay."""

    def stop(self, reason: str) -> None:
        """End after a checkpoint."""

    def kill(self, reason: str) -> None:
        """End at once."""

    def pause(self, reason: str) -> None:
        """Pause every worker at a step boundary."""

    def unpause(self, reason: str) -> None:
        """End a pause."""

    def cancel(self, index: int, reason: str) -> None:
        """End one model; its checkpoints are kept."""

    def retry(self, index: int, reason: str) -> None:
        """Queue a failed or cancelled model again."""

    def set_workers(self, requested: int, reason: str) -> str | None:
        """Change the number of workers; returns why not, or None."""

    @property
    def is_pausing(self) -> bool:
        """Whether a pause was requested."""

    @property
    def is_within_slots(self) -> bool:
        """Whether the number of workers is within the limit."""

    @property
    def is_killing(self) -> bool:
        """Whether it is being ended at once."""


Outcome = tuple[str, str | None]
"""`done` or `failed`, and the reason."""


@dataclass(frozen=True, slots=True)
class _Pending:
    command: commands.Command
    outcome: Callable[[], Outcome | None]


class Steering:
    """Carries out the commands in the run directory."""

    def __init__(self, directory: RunDirectory, journal: Journal, run: Steered) -> None:
        self._directory: RunDirectory | None = directory
        self._journal = journal
        self._run = run
        self._pending: list[_Pending] = []
        self._deaf: str | None = None

    def move(self, directory: RunDirectory | None) -> None:
        """Set the new run directory; None: it is gone, and there are no more commands."""
        self._directory = directory

    def take(self) -> None:
        """Follow or refuse waiting commands, and answer those carried out."""
        self._settle()
        for command in self._waiting():
            self._follow(command)
            # Before the next one, which may undo this one.
            self._settle()

    def _settle(self) -> None:
        still = []
        for pending in self._pending:
            outcome = pending.outcome()
            if outcome is None:
                still.append(pending)
            else:
                self._answer(pending.command, *outcome)
        self._pending = still

    def finish(self, status: RunState) -> None:
        """Answer all pending commands at the end of the run, and refuse late ones."""
        self._settle()
        for pending in self._pending:
            asked_for_the_end = pending.command.name in ("stop", "kill")
            self._answer(pending.command, "done" if asked_for_the_end else "failed", f"the run is {status}")
        self._pending = []
        self.refuse_the_rest()

    def refuse_the_rest(self) -> None:
        """Answer commands that came too late."""
        for command in self._waiting():
            self._answer(command, "refused", "the run has ended")

    # --- one command

    def _follow(self, command: commands.Command) -> None:
        reason, model, workers = self._refusal(command)
        if reason is not None:
            self._answer(command, "refused", reason)
            return
        why = f"command from {command.sender}"
        outcome: Callable[[], Outcome | None] = _at_once
        match command.name:
            case "stop":
                self._answer(command, "accepted")
                self._run.stop(why)
                outcome = _at_the_end
            case "kill":
                self._answer(command, "accepted")
                self._run.kill(why)
                outcome = _at_the_end
            case "pause":
                self._answer(command, "accepted")
                self._run.pause(why)
                outcome = self._when_paused
            case "continue":
                self._answer(command, "accepted")
                self._run.unpause(why)
            case "cancel" if model is not None:
                self._answer(command, "accepted")
                index = model.index
                self._run.cancel(index, why)
                outcome = lambda: self._when_cancelled(index)  # noqa: E731
            case "retry" if model is not None:
                self._answer(command, "accepted")
                self._run.retry(model.index, why)
            case "workers" if workers is not None:
                refused = self._run.set_workers(workers, why)
                self._answer(command, "accepted" if refused is None else "refused", refused)
                if refused is not None:
                    return
                outcome = self._when_within_slots
        self._pending.append(_Pending(command, outcome))

    def _refusal(self, command: commands.Command) -> tuple[str | None, ModelState | None, int | None]:
        """Why the command is not followed, or the model or number that it is about."""
        if command.problem is not None:
            return command.problem, None, None
        state = self._journal.info.state
        if command.name == "continue" and self._run.is_pausing and state is RunState.RUNNING:
            state = RunState.PAUSED  # the last worker has not reached its step boundary yet
        if command.name == "pause" and self._run.is_pausing and state is RunState.RUNNING:
            return "it is being paused already", None, None
        if command.name == "kill" and self._run.is_killing:
            return "it is being ended already", None, None
        refused = transitions.refusal(command.name, state)
        if refused is not None:
            return refused, None, None
        if command.name in transitions.MODEL_COMMANDS:
            return self._about_model(command)
        if command.name == "workers":
            return self._about_workers(command)
        return None, None, None

    def _about_model(self, command: commands.Command) -> tuple[str | None, ModelState | None, int | None]:
        name = command.arguments.get("model")
        found = [model for model in self._journal.models.values() if model.name == name]
        if not found:
            return f"there is no model {name!r} in this run", None, None
        return transitions.model_refusal(command.name, found[0].name, found[0].phase), found[0], None

    @staticmethod
    def _about_workers(command: commands.Command) -> tuple[str | None, ModelState | None, int | None]:
        wanted = command.arguments.get("workers")
        if type(wanted) is not int or not 1 <= wanted <= MOST_WORKERS:
            return f"workers = {wanted!r}: must be a whole number from 1 to {MOST_WORKERS}", None, None
        return _locked(wanted), None, wanted

    # --- when it is carried out

    def _when_paused(self) -> Outcome | None:
        if self._journal.info.state is RunState.PAUSED:
            return "done", None
        return None if self._run.is_pausing else ("failed", "it was continued before it was paused")

    def _when_cancelled(self, index: int) -> Outcome | None:
        model = self._journal.models[index]
        if model.phase is TrainingPhase.CANCELLED:
            return "done", None
        if model.phase.is_final:
            return (
                "failed",
                f"{model.name} {'was' if model.phase is TrainingPhase.COMPLETED else 'has'} {model.phase} before",
            )
        return None

    def _when_within_slots(self) -> Outcome | None:
        return ("done", self._journal.info.limit_reason) if self._run.is_within_slots else None

    # --- files and answers

    def _waiting(self) -> list[commands.Command]:
        if self._directory is None:
            return []
        try:
            return commands.take(self._directory)
        except RunDirectoryError as error:
            if self._deaf != str(error):
                self._deaf = str(error)
                self._journal.warn("commands", f"{error}; until then the run takes no commands")
            return []

    def _answer(self, command: commands.Command, outcome: str, reason: str | None = None) -> None:
        self._journal.record(
            happened.CommandAnswered(
                time=self._journal.clock(),
                id=command.id,
                name=command.name,
                arguments=dict(command.arguments),
                sender=command.sender,
                outcome=outcome,
                reason=reason,
            )
        )


def _locked(workers: int) -> str | None:
    """Why the site-wide settings, as they are now, do not allow this number of workers; None if they do."""
    try:
        site = read_site()
    except SettingsError as error:
        return str(error)
    if site.lock_of(_WORKERS) is None or site.value_of(_WORKERS) == workers:
        return None
    return site.refusal(_WORKERS)


def _at_once() -> Outcome | None:
    return "done", None


def _at_the_end() -> Outcome | None:
    return None
