"""Runs: the known runs, live ones first; attach to one, go on with it, delete it, write its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.events import Resize

from forge_tui.errors import ForgeError
from forge_tui.protocol.phases import RunState
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.text.figures import short_path
from forge_tui.tui.dialogs.questions import Ask, Choice
from forge_tui.tui.lists.known_runs import KnownRuns, RunLook
from forge_tui.tui.lists.run_list import RunList
from forge_tui.tui.screens.exporting import ask_and_export
from forge_tui.tui.screens.filter_line import FilterLine, FilterScreen
from forge_tui.tui.screens.run_text import about_run
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.document import Document, Paragraph
from forge_tui.tui.widgets.line import Line

LOOK_SECONDS = 2.0
# Below this many lines the selected run is not described under the list.
_DETAIL_FROM_HEIGHT = 20


class RunsScreen(FilterScreen):
    """The list, and the selected run in a few lines below it. Everything is read in threads."""

    name_of_screen: ClassVar[str] = "runs"
    DEFAULT_CSS = """
    RunsScreen #runs { height: 1fr; min-height: 3; }
    RunsScreen #runs-divider { height: 1; }
    RunsScreen #run-detail { height: 6; padding: 0 1; }
    RunsScreen.-low #run-detail { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._known = KnownRuns()
        self._looking = False
        self._look_again = False
        self._reading: Path | None = None
        self._detail: tuple[Path, Snapshot | None, str] | None = None

    def compose_body(self) -> ComposeResult:
        """The list, the line for the filter, the selected run."""
        runs = RunList(glyphs=self.forge.glyphs, now=self.forge.clock, id="runs")
        runs.empty_text = "Looking for runs…"
        yield runs
        yield FilterLine(id="filter", placeholder="filter: id, state, type, mode, path (Enter keeps, empty shows all)")
        yield Line(id="runs-divider")
        detail = Document(only_ascii=self.forge.glyphs.ascii, id="run-detail")
        detail.can_focus = False
        yield detail

    def begin(self) -> None:
        """Look for runs, and again every now and then."""
        self.runs.focus()
        self.look()
        self.set_interval(LOOK_SECONDS, self.look)

    def on_unmount(self) -> None:
        """Let go of the live runs; where a thread is looking at them, that is done when it comes back."""
        if not self._looking:
            self._known.close()

    def fit(self, width: int, height: int) -> None:
        """A low terminal shows the list alone."""
        super().fit(width, height)
        self.set_class(height < _DETAIL_FROM_HEIGHT, "-low")

    def on_resize(self, event: Resize) -> None:
        """The line between list and detail is drawn for the new width."""
        super().on_resize(event)
        self.call_after_refresh(self._draw_divider)

    @property
    def runs(self) -> RunList:
        """The list."""
        return self.query_one("#runs", RunList)

    # --- looking

    def look(self) -> None:
        """Look at the known runs beside the UI, once at a time and only while they are seen."""
        if self._looking or self.forge.front is not self:
            return
        self._looking = True
        self.forge.call_in_thread(self._known.look, then=self._looked)

    def _looked(self, result: tuple[RunLook, ...] | ForgeError) -> None:
        self._looking = False
        if not self.is_there:
            self._known.close()
            return
        if isinstance(result, ForgeError):
            self.runs.empty_text = cells.clean(str(result), self.forge.glyphs.ascii)
            self.runs.refresh()
            self.forge.tell(str(result), "error")
            return
        self.runs.empty_text = "No runs yet: 1 configures one, Ctrl+R starts it there."
        self.runs.show(result)
        self._draw_divider()
        selected = self.runs.selected
        if selected is None or selected.is_live or self._detail is None or self._changed(selected):
            self._read_selected()
        else:
            self._draw_detail()
        if self._look_again:
            self._look_again = False
            self.look()

    def _changed(self, look: RunLook) -> bool:
        if self._detail is None or self._detail[0] != look.entry.path:
            return True
        snapshot = self._detail[1]
        return snapshot is not None and look.state is not None and snapshot.state is not look.state

    def on_run_list_selected(self) -> None:
        """Another run: read it."""
        self._draw_detail()
        self._read_selected()

    def _read_selected(self) -> None:
        """Read the selected run in full; one at a time, so that running through the list reads only where it stops."""
        look = self.runs.selected
        if look is None or look.state is None:
            self._detail = None
            self._draw_detail()
            return
        if self._reading is not None:
            return
        path = self._reading = look.entry.path

        def read(result: Snapshot | ForgeError) -> None:
            self._reading = None
            if not self.is_there:
                return
            if isinstance(result, ForgeError):
                self._detail = (path, None, str(result))
            else:
                self._detail = (path, result, "")
            self._draw_detail()
            now_selected = self.runs.selected
            if now_selected is not None and now_selected.entry.path != path:
                self._read_selected()

        self.forge.call_in_thread(lambda: self._known.snapshot(path), then=read)

    # --- drawing

    def _draw_detail(self) -> None:
        look = self.runs.selected
        lines: list[Paragraph] = []
        if look is not None:
            known = self._detail if self._detail is not None and self._detail[0] == look.entry.path else None
            snapshot, problem = known[1:] if known else (None, "")
            lines = about_run(look, snapshot, problem, self.forge.glyphs.ascii)
        self.query_one("#run-detail", Document).show(lambda _width: lines)

    def on_run_list_range_changed(self) -> None:
        """Other rows are in view."""
        self._draw_divider()

    def _draw_divider(self) -> None:
        if not self.is_there:
            return
        line = self.query_one("#runs-divider", Line)
        dash = self.forge.glyphs.axis_horizontal
        runs = self.runs
        live = sum(1 for look in runs.looks if look.is_live)
        count = len(runs.looks)
        parts = [f"{count} run{'' if count == 1 else 's'}, {live} live"] if count else []
        if runs.marks:
            parts.append(f"{len(runs.marks)} marked")
        if runs.filter_text:
            parts.append(f"filter {cells.clean(runs.filter_text, self.forge.glyphs.ascii)}")
        left = f"{dash} {f' {dash} '.join(parts)} " if parts else ""
        right = f" {runs.visible_range}" if runs.visible_range else ""
        width = max(20, line.size.width or self.size.width)
        left = cells.left(left, min(cells.width_of(left), width - len(right)), self.forge.glyphs.ellipsis)
        line.show(left + dash * max(0, width - cells.width_of(left) - len(right)) + right)

    # --- moving

    def action_up(self) -> None:
        """One up."""
        self.runs.move(-1)

    def action_down(self) -> None:
        """One down."""
        self.runs.move(1)

    def action_page_up(self) -> None:
        """One page up."""
        self.runs.page(-1)

    def action_page_down(self) -> None:
        """One page down."""
        self.runs.page(1)

    def action_first(self) -> None:
        """To the first run."""
        self.runs.move_to("first")

    def action_last(self) -> None:
        """To the last run."""
        self.runs.move_to("last")

    def action_scroll_to_selection(self) -> None:
        """Scroll to the selection."""
        self.runs.scroll_to_selection()

    def action_mark(self) -> None:
        """Mark or unmark the selected run and go on to the next."""
        self.runs.toggle_mark()
        self.runs.move(1)
        self._draw_divider()

    def action_mark_none(self) -> None:
        """Clear all marks."""
        self.runs.clear_marks()
        self._draw_divider()

    @property
    def filtered(self) -> RunList:
        """The list of runs."""
        return self.runs

    def list_looks_different(self) -> None:
        """The filter stands in the divider."""
        self._draw_divider()

    # --- doing

    def _selected_or_tell(self) -> RunLook | None:
        look = self.runs.selected
        if look is None:
            why = self.runs.no_match_text if self.runs.looks else self.runs.empty_text
            self.forge.tell(why, "warning")
        return look

    def _short(self, name: str) -> str:
        """A name that leaves room in the status line for what is said of it."""
        return cells.middle(cells.clean(name), min(cells.width_of(name), 28), self.forge.glyphs.ellipsis)

    def _readable_or_tell(self) -> RunLook | None:
        look = self._selected_or_tell()
        if look is not None and look.state is None:
            self.forge.tell(look.problem, "error")
            return None
        return look

    def on_run_list_opened(self, message: RunList.Opened) -> None:
        """Watch the run."""
        self.action_open()

    def action_open(self) -> None:
        """Watch the selected run, live or ended."""
        look = self._readable_or_tell()
        if look is not None:
            self.forge.controller.attach(look.entry.path)

    def action_compare(self) -> None:
        """The marked runs side by side; one marked run with the selected one; of a sweep alone its configs."""
        from forge_tui.reports.comparison import MOST_RUNS
        from forge_tui.tui.screens.compare import CompareScreen

        paths, selected = list(self.runs.marks), self.runs.selected
        least = 2
        if selected is not None and selected.entry.path not in paths and len(paths) == 1:
            paths.append(selected.entry.path)
        elif selected is not None and set(paths) <= {selected.entry.path} and self._is_a_sweep(selected.entry.path):
            paths, least = [selected.entry.path], 1
        if not least <= len(paths) <= MOST_RUNS:
            told = "nothing to compare: mark two runs or more with Space, then C"
            if len(paths) > MOST_RUNS:
                told = f"{len(paths)} runs are marked, and at most {MOST_RUNS} are compared: Space unmarks, A all"
            self.forge.tell(told, "warning")
            return
        self.forge.tell("")
        self.forge.push_screen(CompareScreen(paths))

    def _is_a_sweep(self, path: Path) -> bool:
        """Whether the models of the run that is shown below the list differ in more than their seeds."""
        snapshot = self._detail[1] if self._detail is not None and self._detail[0] == path else None
        return snapshot is not None and any(model.combination for model in snapshot.models)

    @work(group="dialog", exclusive=True)
    async def action_resume(self) -> None:
        """Ask, then go on with the selected run; one that is completed can be trained for more epochs."""
        look = self._readable_or_tell()
        if look is None:
            return
        name, path = look.entry.run, look.entry.path
        if look.is_live:
            told = f"nothing to resume: {self._short(name)} is {look.state_word}; Enter watches it"
            self.forge.tell(told, "warning")
            return
        if look.state is RunState.COMPLETED:
            await self._train_further(name, path)
            return
        question = f"Go on with {name} ({look.state_word}) from its newest checkpoints?"
        choices = (Choice("r", "Resume", "resume"), Choice("b", "Back", "back"))
        if await self.forge.dialogs.ask(question, choices, "resume") == "resume":
            self.forge.resume_run(path)

    async def _train_further(self, name: str, path: Path) -> None:
        known = self._detail if self._detail is not None and self._detail[0] == path else None
        done = known[1].run.epochs if known is not None and known[1] is not None else 0
        so_far = f" Its models have {done} epochs." if done else ""
        question = f"{name} is completed.{so_far} Train it to how many epochs in all? (empty: not)"
        answer = await self.forge.push_screen_wait(Ask(cells.clean(question, self.forge.glyphs.ascii)))
        if answer is None or not answer.strip():
            return
        try:
            epochs = int(answer)
        except ValueError:
            epochs = 0
        if epochs <= done or epochs < 1:
            least = f"a whole number above {done}" if done else "a positive whole number"
            self.forge.tell(f"not resumed: epochs must be {least}, not {answer.strip()[:20]}", "error")
            return
        self.forge.resume_run(path, epochs)

    @work(group="dialog", exclusive=True)
    async def action_delete(self) -> None:
        """Ask, then delete the selected run with its models; refused while it is live."""
        look = self._selected_or_tell()
        if look is None:
            return
        name, path = look.entry.run, look.entry.path
        if look.is_live:
            self.forge.tell(f"not deleted: {self._short(name)} is {look.state_word}; stop it first (Enter, s)", "error")
            return
        count = look.entry.models
        models = f"{count} model{'' if count == 1 else 's'}"
        question = (
            f"Delete {name} for good, with its {models}, checkpoints, history and logs? It lies in {short_path(path)}"
        )
        choices = (Choice("d", "Delete", "delete"), Choice("b", "Back", "back"))
        if await self.forge.dialogs.ask(question, choices, "back") != "delete":
            return
        self.forge.tell(f"deleting {name}…")

        def deleted(result: Any) -> None:
            if isinstance(result, ForgeError):
                self.forge.tell(str(result), "error")
            elif result:
                more = f" and {len(result) - 1} more" if len(result) > 1 else ""
                told = f"deleted: {name}; what no run has made stays: {short_path(result[0])}{more}"
                self.forge.tell(cells.clean(told, self.forge.glyphs.ascii), "warning")
            else:
                self.forge.tell(f"deleted: {name}")
            self._look_again = self._looking
            if self.is_there:
                self.look()

        from forge_tui import client

        self.forge.call_in_thread(lambda: client.delete(path), then=deleted)

    @work(group="dialog", exclusive=True)
    async def action_export(self) -> None:
        """Ask for a format, then write the selected run's report to a file."""
        look = self._readable_or_tell()
        if look is not None:
            from forge_tui import client

            path = look.entry.path
            await ask_and_export(self.forge, look.entry.run, lambda: client.attach(path))
