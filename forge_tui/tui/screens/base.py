"""What every screen has: the two top lines, the sidebar where there is room, and the keys at the bottom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from textual.app import ComposeResult
from textual.compose import compose
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.events import Resize
from textual.screen import Screen
from textual.widget import Widget

from forge_tui.tui.bindings import TITLES, actions_of, bindings_of
from forge_tui.tui.widgets.footer import FooterLine
from forge_tui.tui.widgets.header import HeaderLine, ResourceLine
from forge_tui.tui.widgets.line import Line
from forge_tui.tui.widgets.sidebar import Sidebar

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.tui.app_interface import AppInterface

WIDE = 100
SMALLEST = (60, 15)


class Narrowing(Protocol):
    """A part of a screen that may cover or narrow what is shown: a zoomed pane, a filter."""

    @property
    def narrows(self) -> bool:
        """Whether it does."""

    def widen(self) -> None:
        """Do so no longer."""


class ForgeScreen(Screen[None]):
    """A screen with the shell's lines around it; a subclass gives its name, `compose_body` and `begin`.

    The first screen of the app is painted without its body, which comes right after; later ones have theirs at once.
    """

    name_of_screen: ClassVar[str] = ""
    PARTS: ClassVar[Mapping[str, Sequence[str]]] = {}
    """The actions that a part of the screen carries out, by the name of the attribute that the part is."""
    over_another: ClassVar[bool] = False
    """Whether it is opened over another screen, to which Esc leads back; else it is one of the three."""
    narrowings: tuple[Narrowing, ...] = ()
    """What may cover or narrow what is shown, in the order in which Esc takes it away."""
    _body_at_once = True
    _body: Widget | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if cls.name_of_screen:
            cls.BINDINGS = bindings_of(cls.name_of_screen, cls)
        super().__init_subclass__(**kwargs)

    @property
    def forge(self) -> AppInterface:
        """The app, as screens see it."""
        return cast("AppInterface", self.app)

    @property
    def is_there(self) -> bool:
        """Whether its widgets can be drawn on: not before they are composed, nor while the screen is taken down."""
        body = self._body
        return body is not None and self.is_mounted and self.is_running and body.is_attached

    def compose(self) -> ComposeResult:
        """Header, resources, body, status, footer."""
        # Before there is anything below: a class that comes later styles all of it again.
        self.fit(self.app.size.width, self.app.size.height)
        glyphs = self.forge.glyphs
        yield HeaderLine(glyphs, self.forge.host, TITLES[self.name_of_screen], id="header")
        yield ResourceLine(glyphs, id="resources")
        with Horizontal(id="middle"):
            yield Sidebar(glyphs, id="sidebar")
            with Vertical(id="body"):
                self._body_at_once = self.forge.shell_is_painted
                if self._body_at_once:
                    yield from self.compose_body()
        yield Line(id="status")
        yield FooterLine(actions_of(self.name_of_screen), self.name_of_screen, id="footer")
        yield Line(f"forge-tui needs {SMALLEST[0]}×{SMALLEST[1]} cells.", id="tiny")

    def compose_body(self) -> ComposeResult:
        """The screen's own part."""
        yield from ()

    def on_mount(self) -> None:
        """Begin; where nothing has been painted yet, the app says when."""
        if self._body_at_once:
            self._begin()

    async def fill_body(self) -> None:
        """The body of the app's first screen, after its first paint."""
        if self.is_running and not self._body_at_once and self._body is None:
            await self.query_one("#body", Vertical).mount_all(compose(self, self.compose_body()))
            self._begin()

    def _begin(self) -> None:
        self._body = self.query_one("#body")
        self._show_curves()
        self.draw_shell()  # a sample may have come meanwhile
        self.begin()

    def begin(self) -> None:
        """Fill in what is known: the body has been mounted."""

    def chosen_models(self) -> set[str]:
        """The names of the models that an action is about: none on a screen that shows none."""
        return set()

    def action_part(self, part: str, name: str) -> None:
        """Have a part of the screen carry out an action."""
        getattr(getattr(self, part), f"action_{name}")()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The screen's own actions need its body, and that it is seen."""
        return self._body is not None and not self.is_tiny and super().check_action(action, parameters)

    @property
    def is_tiny(self) -> bool:
        """Whether the terminal has no room for anything but a sentence."""
        return self.has_class("-tiny")

    def on_resize(self, event: Resize) -> None:
        """Sidebar at the left or as a line; one sentence where there is no room at all."""
        self.fit(event.size.width, event.size.height)
        self.call_after_refresh(self.draw_shell)

    def on_screen_resume(self) -> None:
        """Draw what changed while another screen was in front."""
        self.fit(self.app.size.width, self.app.size.height)
        self.call_after_refresh(self.draw_all)

    def fit(self, width: int, height: int) -> None:
        """Choose the layout for a terminal of this size."""
        tiny = width < SMALLEST[0] or height < SMALLEST[1]
        self.set_class(tiny, "-tiny")
        whole = self.forge.appearance.sidebar_whole and not tiny
        self.set_class(width >= WIDE and not self.forge.appearance.sidebar_hidden, "-wide")
        self.set_class(width < WIDE and whole, "-resources")

    # --- back

    @property
    def leads_back(self) -> bool:
        """Whether Esc does something here."""
        return self.over_another or self._narrowed or self.forge.navigation.way_back.behind is not None

    @property
    def _narrowed(self) -> bool:
        return self.has_class("-resources") or any(each.narrows for each in self.narrowings)

    def leave_screen(self) -> None:
        """Go to the screen that this one was come to from."""
        if self.over_another:
            self.app.pop_screen()
        else:
            self.forge.navigation.go_back()

    def action_back(self) -> None:
        """One level back: what covers or narrows what is shown goes first, one thing at a time."""
        if self.has_class("-resources"):
            self.forge.appearance.action_resources()
        elif narrowing := next((each for each in self.narrowings if each.narrows), None):
            narrowing.widen()
        else:
            self.leave_screen()
            return
        self.draw_shell()

    def on_filter_line_closed(self) -> None:
        """The keys at the bottom say whether Esc shows everything again."""
        self.draw_shell()

    def draw_all(self) -> None:
        """Draw everything from what the app knows."""
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
                    machine.resources, machine.detected, snapshot, machine.suggestion
                )
            self.query_one("#status", Line).show(self.forge.status.text)
            live = None if snapshot is None else snapshot.state.is_live
            self.query_one("#footer", FooterLine).show_for(live, self.leads_back)
        except NoMatches:  # not composed yet: on_mount draws
            return

    def _show_curves(self) -> None:
        """The curves are the app's: a screen that comes later shows what was before it too."""
        percent = tuple(self.forge.machine.cpu_percent)
        self.query_one("#resources", ResourceLine).show_curve(percent)
        self.query_one("#sidebar", Sidebar).show_curve(percent)

    def show(self, snapshot: Snapshot | None) -> None:
        """Draw a snapshot of the watched run; a screen that shows none of it leaves this as it is."""

    def forget_run(self) -> None:
        """The run that was watched is not there any more; a screen that shows some of it takes that away."""
        self.show(None)

    def add_events(self, events: Iterable[dict[str, Any]]) -> None:
        """Tell what happened in the watched run; a screen that tells none of it leaves this as it is."""
