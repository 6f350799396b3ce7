"""The base of every screen: two top lines, the sidebar on wide terminals, and the keys at the bottom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.compose import compose
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.events import Resize
from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget

from forge_tui.tui.bindings import PURPOSES, TITLES, action_text, bindings_of
from forge_tui.tui.offered import offered
from forge_tui.tui.widgets.footer import FooterLine
from forge_tui.tui.widgets.header import HeaderLine, ResourceLine
from forge_tui.tui.widgets.line import Line
from forge_tui.tui.widgets.sidebar import Sidebar

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.copies import Copy

WIDE = 100
SMALLEST = (60, 15)


class Narrowing(Protocol):
    """A part of a screen that may hide something: a zoomed pane, a filter."""

    @property
    def narrows(self) -> bool:
        """Whether it hides something."""

    def widen(self) -> None:
        """Show everything again."""


class ForgeScreen(Screen[None]):
    """A screen with the shell's lines around its body; a subclass defines its name, `compose_body` and `begin`.

    The app's first screen is painted without its body, which follows; later screens have theirs at once.
    """

    name_of_screen: ClassVar[str] = ""
    PARTS: ClassVar[Mapping[str, Sequence[str]]] = {}
    """The actions of the screen's parts, by the part's attribute name."""
    over_another: ClassVar[bool] = False
    """Whether it opens above another screen, to which Esc leads back; else it is one of the three."""
    narrowings: tuple[Narrowing, ...] = ()
    """The parts that may hide something, in the order in which Esc resets them."""
    _body_at_once = True
    _body: Widget | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if cls.name_of_screen:
            cls.BINDINGS = bindings_of(cls.name_of_screen, cls)
        super().__init_subclass__(**kwargs)

    @property
    def forge(self) -> AppInterface:
        """The app."""
        return cast("AppInterface", self.app)

    @property
    def is_there(self) -> bool:
        """Whether its widgets can be drawn: composed, and the screen not being removed."""
        body = self._body
        return body is not None and self.is_mounted and self.is_running and body.is_attached

    def compose(self) -> ComposeResult:
        """Header, resources, body, status, footer."""
        # Before there is anything below: a class that comes later styles all of it again.
        self.fit(self.app.size.width, self.app.size.height)
        glyphs, surroundings = self.forge.glyphs, self.forge.surroundings
        title = TITLES[self.name_of_screen] + (", read-only" if surroundings.read_only else "")
        yield HeaderLine(glyphs, self.forge.host, title, id="header")
        yield ResourceLine(glyphs, id="resources")
        with Horizontal(id="middle"):
            yield Sidebar(glyphs, id="sidebar")
            with Vertical(id="body"):
                self._body_at_once = self.forge.shell_is_painted
                if self._body_at_once:
                    yield from self.compose_body()
        yield Line(id="status")
        yield FooterLine(offered(self.name_of_screen, surroundings), self.name_of_screen, id="footer")
        yield Line(f"forge-tui needs {SMALLEST[0]}×{SMALLEST[1]} cells.", id="tiny")

    def compose_body(self) -> ComposeResult:
        """The screen's own widgets."""
        yield from ()

    def on_mount(self) -> None:
        """Begin; before the first paint, the app calls `fill_body` later."""
        if self._body_at_once:
            self._begin()

    async def fill_body(self) -> None:
        """Mount the body of the app's first screen, after its first paint."""
        if self.is_running and not self._body_at_once and self._body is None:
            await self.query_one("#body", Vertical).mount_all(compose(self, self.compose_body()))
            self._begin()

    def _begin(self) -> None:
        self._body = self.query_one("#body")
        self._show_curves()
        self.draw_shell()  # a sample may have arrived meanwhile
        self.begin()

    def begin(self) -> None:
        """Fill in the content: the body is mounted."""

    def copies(self) -> Sequence[Copy]:
        """The texts that can be copied here; none by default."""
        return ()

    def chosen_models(self) -> set[str]:
        """The names of the models that an action applies to; none by default."""
        return set()

    def action_part(self, part: str, name: str) -> None:
        """Run an action of a part of the screen."""
        getattr(getattr(self, part), f"action_{name}")()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the screen's own actions without its body, or if it is not visible."""
        return self._body is not None and not self.is_tiny and super().check_action(action, parameters)

    @property
    def is_tiny(self) -> bool:
        """Whether the terminal only has space for a sentence."""
        return self.has_class("-tiny")

    def on_resize(self, event: Resize) -> None:
        """Show the sidebar at the left or as a line; on a tiny terminal one sentence."""
        self.fit(event.size.width, event.size.height)
        self.call_after_refresh(self.draw_shell)

    def on_screen_resume(self) -> None:
        """Draw changes since another screen was in front."""
        self.fit(self.app.size.width, self.app.size.height)
        self.call_after_refresh(self.draw_all)

    # Textual 8.2.8 posts a `Resize` of a screen's own size after each layout, and a `Resize` causes a layout. Two sizes
    # in the queue at once, as while a browser's window is dragged, would alternate for ever and use a whole core.
    def _screen_resized(self, size: Size) -> None:
        """Ignore a size that the terminal no longer has."""
        if size == self.app.size:
            super()._screen_resized(size)

    def fit(self, width: int, height: int) -> None:
        """Choose the layout for a terminal of this size."""
        tiny = width < SMALLEST[0] or height < SMALLEST[1]
        self.set_class(tiny, "-tiny")
        whole = self.forge.appearance.sidebar_whole and not tiny
        self.set_class(width >= WIDE and not self.forge.appearance.sidebar_hidden, "-wide")
        self.set_class(width < WIDE and whole, "-resources")

    @property
    def _purpose(self) -> Text:
        """What the screen is for, while there is no message."""
        return Text(PURPOSES[self.name_of_screen], style="dim")

    @property
    def idle_actions(self) -> frozenset[str]:
        """Actions that have nothing to act on now; the footer leaves them out."""
        return frozenset()

    async def on_line_clicked(self, message: Line.Clicked) -> None:
        """Run the action that was clicked on, as its key would."""
        await self.forge.run_clicked(action_text(message.action, type(self)), self)

    # --- back

    @property
    def leads_back(self) -> bool:
        """Whether Esc does something here."""
        return self.over_another or self._narrowed or self.forge.navigation.way_back.behind is not None

    @property
    def _narrowed(self) -> bool:
        return self.has_class("-resources") or any(each.narrows for each in self.narrowings)

    def leave_screen(self) -> None:
        """Go to the previous screen."""
        if self.over_another:
            self.app.pop_screen()
        else:
            self.forge.navigation.go_back()

    def action_back(self) -> None:
        """Go back one level: first reset parts that hide something, one at a time."""
        if self.has_class("-resources"):
            self.forge.appearance.action_resources()
        elif narrowing := next((each for each in self.narrowings if each.narrows), None):
            narrowing.widen()
        else:
            self.leave_screen()
            return
        self.draw_shell()

    def on_filter_line_closed(self) -> None:
        """Update the keys at the bottom, which depend on the filter."""
        self.draw_shell()

    def draw_all(self) -> None:
        """Draw everything from the app's state."""
        self.draw_shell()
        self.show(self.forge.controller.snapshot)

    def draw_shell(self) -> None:
        """Draw header, resources and status."""
        machine, controller = self.forge.machine, self.forge.controller
        snapshot, live_runs = controller.snapshot, controller.live_runs
        note = f"{live_runs} live run{'s' if live_runs > 1 else ''}: 3" if live_runs else ""
        try:
            self._show_curves()
            self.query_one("#header", HeaderLine).draw(snapshot, note)
            self.query_one("#resources", ResourceLine).draw(machine.resources, snapshot)
            if self.has_class("-wide") or self.has_class("-resources"):
                self.query_one("#sidebar", Sidebar).draw(
                    machine.resources, machine.detected, snapshot, machine.suggestion, machine.gpus
                )
            self.query_one("#status", Line).show(self.forge.status.text or self._purpose)
            live = None if snapshot is None else snapshot.state.is_live
            self.query_one("#footer", FooterLine).show_for(live, self.leads_back, self.idle_actions)
        except NoMatches:  # not composed yet: on_mount draws
            return

    def _show_curves(self) -> None:
        """Show the app's CPU curves, so that a new screen has the earlier values too."""
        percent = tuple(self.forge.machine.cpu_percent)
        self.query_one("#resources", ResourceLine).show_curve(percent)
        self.query_one("#sidebar", Sidebar).show_curve(percent)

    def show(self, snapshot: Snapshot | None) -> None:
        """Draw a snapshot of the watched run; does nothing by default."""

    def forget_run(self) -> None:
        """Stop showing the watched run, which no longer exists; does nothing by default."""
        self.show(None)

    def add_events(self, events: Iterable[dict[str, Any]]) -> None:
        """Show events of the watched run; does nothing by default."""
