"""Actions on the selected run in the list of runs: watch, pause, stop, resume, name, compare, delete, report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_tui import client
from forge_tui.errors import ForgeError
from forge_tui.protocol.phases import RunState
from forge_tui.reports.comparison import MOST_RUNS
from forge_tui.text.figures import short_path
from forge_tui.tui.dialogs.questions import Ask, Choice
from forge_tui.tui.screens.compare import CompareScreen
from forge_tui.tui.screens.exporting import ask_and_export
from forge_tui.tui.widgets import cells

if TYPE_CHECKING:
    from forge_tui.protocol.label import Label
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.lists.known_runs import RunLook
    from forge_tui.tui.lists.run_list import RunList

ACTIONS = ("compare", "pause", "stop", "resume", "label", "delete", "export")


class KnownRunActions:
    """The part of Runs that runs `ACTIONS`."""

    def __init__(
        self,
        forge: AppInterface,
        runs: RunList,
        snapshot_of: Callable[[Path], Snapshot | None],
        changed: Callable[[], None],
    ) -> None:
        """`snapshot_of`: a run's snapshot, if it has been read. `changed` is called when the list may have changed."""
        self._forge, self._runs, self._snapshot_of, self._changed = forge, runs, snapshot_of, changed

    def watch_selected(self) -> None:
        """Watch the selected run, live or ended."""
        look = self._readable_or_tell()
        if look is not None:
            self._forge.controller.attach(look.entry.path)

    def action_compare(self) -> None:
        """Compare the marked runs; or one marked run with the selected one; or the configs of a single sweep."""
        paths, selected = list(self._runs.marks), self._runs.selected
        least = 2
        if selected is not None and selected.entry.path not in paths and len(paths) == 1:
            paths.append(selected.entry.path)
        elif selected is not None and set(paths) <= {selected.entry.path} and self._is_a_sweep(selected.entry.path):
            paths, least = [selected.entry.path], 1
        if not least <= len(paths) <= MOST_RUNS:
            message = "nothing to compare: mark at least two runs with Space, then C"
            if len(paths) > MOST_RUNS:
                message = f"{len(paths)} runs are marked, and at most {MOST_RUNS} are compared: Space unmarks, A all"
            self._forge.tell(message, "warning")
            return
        self._forge.tell("")
        self._forge.push_screen(CompareScreen(paths))

    def _is_a_sweep(self, path: Path) -> bool:
        """Whether a run has been read and its models differ in more than their seeds."""
        snapshot = self._snapshot_of(path)
        return snapshot is not None and any(model.combination for model in snapshot.models)

    # --- a live run

    def action_pause(self) -> None:
        """Pause the selected run, or continue a paused one."""
        look = self._live_or_tell("pause")
        if look is not None:
            self._send("continue" if look.state is RunState.PAUSED else "pause", look)

    def action_stop(self) -> None:
        """Ask, then stop the selected run after a checkpoint."""
        look = self._live_or_tell("stop")
        if look is not None:
            self._forge.run_dialog(self._ask_and_stop(look))

    async def _ask_and_stop(self, look: RunLook) -> None:
        choices = (Choice("s", "Stop after checkpoint", "stop"), Choice("b", "Back", "back"))
        question = cells.clean(f"Stop {look.entry.title} after a checkpoint?", self._forge.glyphs.ascii)
        if await self._forge.dialogs.ask(question, choices, "back") == "stop":
            self._send("stop", look)

    def _send(self, command: str, look: RunLook) -> None:
        title = self._short(look.entry.title)
        self._forge.tell(f"{command} {title}: sent")
        self._forge.controller.send_to(look.entry.path, title, command, f"ui {self._forge.host}")

    def _live_or_tell(self, command: str) -> RunLook | None:
        look = self._readable_or_tell()
        if look is not None and not look.is_live:
            message = f"nothing to {command}: {self._short(look.entry.title)} is {look.state_word}; R resumes it"
            self._forge.tell(message, "warning")
            return None
        return look

    # --- name and note

    def action_label(self) -> None:
        """Ask for the selected run's name and note."""
        look = self._selected_or_tell()
        if look is not None:
            self._forge.run_dialog(self._ask_and_label(look))

    async def _ask_and_label(self, look: RunLook) -> None:
        entry, only_ascii = look.entry, self._forge.glyphs.ascii
        question = f"What is {entry.run} called? Commands accept this name for it. (empty: no name)"
        name = await self._forge.push_screen_wait(Ask(cells.clean(question, only_ascii), entry.name))
        if name is None:
            return
        note = await self._forge.push_screen_wait(Ask("A note about it: (empty: none)", entry.note))

        def label() -> tuple[Label, list[str]]:
            with client.attach(entry.path) as run:
                new = run.set_label(name=name, note=note)
            return new, client.namesakes(new.name, entry.path) if new.name else []

        def labelled(result: Any) -> None:
            self._changed()
            if isinstance(result, ForgeError):
                self._forge.tell(f"not named: {result}", "error")
                return
            new, others = result
            told = f"{entry.run}: {new.name or 'no name'}, {new.note or 'no note'}"
            if others:
                told += f"; {short_path(Path(others[0]))} is called that too: commands need the directory"
            self._forge.tell(cells.clean(told, only_ascii), "warning" if others else "information")

        self._forge.call_in_thread(label, then=labelled)

    # --- an ended run

    def action_resume(self) -> None:
        """Ask, then continue the selected run; a completed one for more epochs."""
        look = self._readable_or_tell()
        if look is None:
            return
        if look.is_live:
            goes_on = "p continues it" if look.state is RunState.PAUSED else "Enter watches it"
            message = f"nothing to resume: {self._short(look.entry.title)} is {look.state_word}; {goes_on}"
            self._forge.tell(message, "warning")
            return
        ask = self._ask_and_train_further if look.state is RunState.COMPLETED else self._ask_and_resume
        self._forge.run_dialog(ask(look))

    async def _ask_and_resume(self, look: RunLook) -> None:
        question = f"Continue {look.entry.title} ({look.state_word}) from its newest checkpoints?"
        choices = (Choice("r", "Resume", "resume"), Choice("b", "Back", "back"))
        if await self._forge.dialogs.ask(question, choices, "resume") == "resume":
            self._forge.resume_run(look.entry.path)

    async def _ask_and_train_further(self, look: RunLook) -> None:
        path = look.entry.path
        known = self._snapshot_of(path)
        done = 0 if known is None else known.run.epochs or 0
        so_far = f" Its models have {done} epochs." if done else ""
        question = f"{look.entry.title} is completed.{so_far} Train it to how many epochs in all? (empty: not)"
        answer = await self._forge.push_screen_wait(Ask(cells.clean(question, self._forge.glyphs.ascii)))
        if answer is None or not answer.strip():
            return
        try:
            epochs = int(answer)
        except ValueError:
            epochs = 0
        if epochs <= done or epochs < 1:
            least = f"a whole number above {done}" if done else "a positive whole number"
            self._forge.tell(f"not resumed: epochs must be {least}, not {answer.strip()[:20]}", "error")
            return
        self._forge.resume_run(path, epochs)

    def action_delete(self) -> None:
        """Ask, then delete the selected run with its models; refused while it is live."""
        look = self._selected_or_tell()
        if look is None:
            return
        if look.is_live:
            message = f"not deleted: {self._short(look.entry.title)} is {look.state_word}; s stops it first"
            self._forge.tell(message, "error")
            return
        self._forge.run_dialog(self._ask_and_delete(look))

    async def _ask_and_delete(self, look: RunLook) -> None:
        name, path, count = look.entry.title, look.entry.path, look.entry.models
        models = f"{count} model{'' if count == 1 else 's'}"
        question = (
            f"Delete {name} for good, with its {models}, checkpoints, history and logs? It is in {short_path(path)}"
        )
        choices = (Choice("d", "Delete", "delete"), Choice("b", "Back", "back"))
        if await self._forge.dialogs.ask(question, choices, "back") != "delete":
            return
        self._forge.tell(f"deleting {name}…")

        def deleted(result: Any) -> None:
            if isinstance(result, ForgeError):
                self._forge.tell(str(result), "error")
            elif result:
                more = f" and {len(result) - 1} more" if len(result) > 1 else ""
                message = f"deleted: {name}; files that no run has made stay: {short_path(result[0])}{more}"
                self._forge.tell(cells.clean(message, self._forge.glyphs.ascii), "warning")
            else:
                self._forge.tell(f"deleted: {name}")
            self._changed()

        self._forge.call_in_thread(lambda: client.delete(path), then=deleted)

    def action_export(self) -> None:
        """Ask for a format, then write the selected run's report to a file."""
        look = self._readable_or_tell()
        if look is not None:
            path = look.entry.path
            self._forge.run_dialog(ask_and_export(self._forge, look.entry.run, lambda: client.attach(path)))

    def _selected_or_tell(self) -> RunLook | None:
        look = self._runs.selected
        if look is None:
            why = self._runs.no_match_text if self._runs.looks else self._runs.empty_text
            self._forge.tell(why, "warning")
        return look

    def _readable_or_tell(self) -> RunLook | None:
        look = self._selected_or_tell()
        if look is not None and look.state is None:
            self._forge.tell(look.problem, "error")
            return None
        return look

    def _short(self, name: str) -> str:
        """A name shortened for the status line."""
        return cells.middle(cells.clean(name), min(cells.width_of(name), 28), self._forge.glyphs.ellipsis)
