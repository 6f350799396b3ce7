"""Runs: the known runs, live ones first; watch, steer, resume, name, delete, or report one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.events import Resize

from forge_tui.errors import ForgeError
from forge_tui.tui.copies import Copy
from forge_tui.tui.lists.known_runs import KnownRuns, RunLook
from forge_tui.tui.lists.run_list import RunList
from forge_tui.tui.screens import copying, known_run_actions, moving
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.known_run_actions import KnownRunActions
from forge_tui.tui.screens.run_detail import RunDetail
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.divider import Divider
from forge_tui.tui.widgets.filter_line import FilterLine

LOOK_SECONDS = 2.0
_OF_LIVE, _OF_ENDED = ("pause", "stop"), ("resume", "delete")
# With fewer lines the selected run is not described below the list.
_DETAIL_FROM_HEIGHT = 20
_FILTER_HINT = "filter: name, id, note, state, type, path; !word for not (Enter keeps)"


class RunsScreen(ForgeScreen):
    """The list, and the selected run in a few lines below it. Everything is read in threads."""

    name_of_screen: ClassVar[str] = "runs"
    PARTS: ClassVar[Mapping[str, Sequence[str]]] = {
        "moving": moving.ACTIONS,
        "run_actions": known_run_actions.ACTIONS,
        "filter_line": ("filter",),
        "runs": ("open", "mark", "mark_none", "scroll_to_selection"),
    }
    DEFAULT_CSS = """
    RunsScreen #runs { height: 1fr; min-height: 3; }
    RunsScreen #runs-divider { height: 1; }
    RunsScreen #run-detail { height: 7; padding: 0 1; }
    RunsScreen.-low #run-detail { display: none; }
    """
    runs: RunList
    filter_line: FilterLine
    divider: Divider
    detail: RunDetail
    run_actions: KnownRunActions

    def __init__(self) -> None:
        super().__init__()
        self._known = KnownRuns()
        self._looking = False
        self._look_again = False
        self.moving = moving.Moving(lambda: self.runs)

    def compose_body(self) -> ComposeResult:
        """The list, the line for the filter, the selected run."""
        self.runs = RunList(glyphs=self.forge.glyphs, now=self.forge.clock, id="runs")
        self.runs.empty_text = "Looking for runs…"
        self.filter_line = FilterLine(self.runs, _FILTER_HINT, id="filter")
        self.divider = Divider(id="runs-divider")
        self.detail = RunDetail(self.forge, self._known, id="run-detail")
        self.run_actions = KnownRunActions(self.forge, self.runs, self.detail.snapshot_of, self._look_soon)
        self.narrowings = (self.filter_line,)
        yield from (self.runs, self.filter_line, self.divider, self.detail)

    def copies(self) -> Sequence[Copy]:
        """What can be copied of the selected run."""
        look = self.runs.selected
        return () if look is None else copying.copies_of_run(look.entry.path, is_live=look.is_live)

    def begin(self) -> None:
        """Find runs, repeatedly."""
        self.runs.focus()
        self.look()
        self.set_interval(LOOK_SECONDS, self.look)

    def on_unmount(self) -> None:
        """Close the live runs; if a thread is reading them, after it returns."""
        if not self._looking:
            self._known.close()

    def fit(self, width: int, height: int) -> None:
        """A low terminal only shows the list."""
        super().fit(width, height)
        self.set_class(height < _DETAIL_FROM_HEIGHT, "-low")

    def on_resize(self, event: Resize) -> None:
        """Draw the line between list and detail for the new width."""
        super().on_resize(event)
        self.call_after_refresh(self._draw_divider)

    @property
    def idle_actions(self) -> frozenset[str]:
        """A live run is paused and stopped, an ended one resumed and deleted."""
        look = self.runs.selected if self.is_there else None
        return frozenset() if look is None else frozenset(_OF_ENDED if look.is_live else _OF_LIVE)

    # --- reading, in threads

    def look(self) -> None:
        """Read the known runs in a thread, one reading at a time and only while they are visible."""
        if self._looking or self.forge.front is not self:
            return
        self._looking = True
        self.forge.call_in_thread(self._known.look, then=self._looked)

    def _look_soon(self) -> None:
        """Read now, or again after the current reading."""
        self._look_again = self._looking
        if self.is_there:
            self.look()

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
        where = self.forge.surroundings
        start = "F2" if where.in_browser else "Ctrl+R"
        how = "." if where.read_only else f": 1 configures one, {start} starts it there."
        self.runs.empty_text = f"No runs yet{how}"
        self.runs.show(result)
        self._draw_divider()
        self.detail.update_run(self.runs.selected)
        self.draw_shell()
        if self._look_again:
            self._look_again = False
            self.look()

    # --- messages of the list

    def on_virtual_list_selected(self) -> None:
        """Read the newly selected run, and show the keys for it."""
        self.detail.show_run(self.runs.selected)
        self.draw_shell()

    def on_virtual_list_opened(self) -> None:
        """Watch the run."""
        self.run_actions.watch_selected()

    def on_virtual_list_arranged(self) -> None:
        """Update the divider, which shows filter and marks."""
        self._draw_divider()

    def on_virtual_list_range_changed(self) -> None:
        """Update the divider, which shows the visible range."""
        self._draw_divider()

    def _draw_divider(self) -> None:
        if not self.is_there:
            return
        runs, glyphs = self.runs, self.forge.glyphs
        live = sum(1 for look in runs.looks if look.is_live)
        count = len(runs.looks)
        parts = [f"{count} run{'' if count == 1 else 's'}, {live} live"] if count else []
        if runs.marks:
            parts.append(f"{len(runs.marks)} marked")
        if runs.filter_text:
            parts.append(cells.clean(runs.filter_summary, glyphs.ascii))
        self.divider.draw(glyphs, parts, runs.visible_range)
