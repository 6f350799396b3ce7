"""The last line: the keys of the screen, from the table of actions; a click on one runs it."""

from __future__ import annotations

from rich.text import Text

from forge_tui.tui.bindings import Action
from forge_tui.tui.widgets.line import Line, Spot

# Keys for other screens: always shown at the end.
_WAYS = ("back", "show_configure", "show_watch", "show_runs", "help", "leave")
_ROOMY = 100


class FooterLine(Line):
    """`p Pause s Stop … Esc Back 1 Conf 2 Watch 3 Runs ? Help q Quit`; keys in the middle are dropped if need be."""

    def __init__(self, actions: tuple[Action, ...], screen: str = "", *, id: str | None = None) -> None:
        """`screen` is its screen, which is underlined among the three."""
        super().__init__(id=id)
        self._actions = tuple(action for action in actions if action.footer)
        self._here = f"show_{screen}"
        self._live: bool | None = None
        self._back = False
        self._idle: frozenset[str] = frozenset()

    def show_for(self, live: bool | None, back: bool, idle: frozenset[str] = frozenset()) -> None:
        """Show the keys for a live or an ended run, or without a run (None); `back`: whether Esc does something.

        `idle` are actions that have nothing to act on, and are left out.
        """
        if (live, back, idle) != (self._live, self._back, self._idle):
            self._live, self._back, self._idle = live, back, idle
            self._fit()

    def on_resize(self) -> None:
        """Fit the keys into the new width."""
        self._fit()

    def _fit(self) -> None:
        fitting = [action for action in self._actions if action.live is None or action.live is self._live]
        actions = [action for action in fitting if action.id not in self._idle]
        ways = [action for name in _WAYS for action in actions if action.id == name and (name != "back" or self._back)]
        space = "  " if self.size.width >= _ROOMY else " "
        room = self.size.width - sum(len(_label(action)) for action in ways) - len(space) * (len(ways) - 1)
        text, spots = Text(), []
        for action in actions:
            if action.id in _WAYS:
                continue
            room -= len(_label(action)) + len(space)
            if room < 0:
                break
            spots.append(_append(text, action, space))
        for action in ways:
            spots.append(_append(text, action, space, " underline" if action.id == self._here else ""))
        self.show(text, spots)


def _label(action: Action) -> str:
    return f"{action.key_text.split()[0]} {action.label}"


def _append(text: Text, action: Action, space: str, more: str = "") -> Spot:
    """Append an action; returns its cells."""
    if text:
        text.append(space)
    start = text.cell_len
    text.append(action.key_text.split()[0], style=f"bold{more}")
    text.append(f" {action.label}", style=more.strip())
    return Spot(start, text.cell_len, action.id)
