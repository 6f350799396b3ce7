"""The last line: the keys of the screen, from the table of actions."""

from __future__ import annotations

from rich.text import Text

from forge_tui.tui.bindings import Action
from forge_tui.tui.widgets.line import Line


class FooterLine(Line):
    """`p Pause  s Stop … ? Help  q Quit`; what does not fit leaves from the middle, help and quit stay."""

    def __init__(self, actions: tuple[Action, ...], screen: str = "", *, id: str | None = None) -> None:
        """`screen` is where it stands: the key that leads there is left out."""
        super().__init__(id=id)
        self._actions = tuple(action for action in actions if action.footer and action.id != f"show_{screen}")
        self._live: bool | None = None

    def show_for(self, live: bool | None) -> None:
        """Show the keys that make sense for a live or an ended run, or without one (None)."""
        if live is not self._live:
            self._live = live
            self._fit()

    def on_resize(self) -> None:
        """Fit the keys into the new width."""
        self._fit()

    def _fit(self) -> None:
        actions = [action for action in self._actions if action.live is None or action.live is self._live]
        last = [action for action in actions if action.id in ("help", "leave")]
        room = self.size.width - sum(len(_label(action)) + 2 for action in last)
        text = Text()
        for action in actions:
            if action in last:
                continue
            if room < len(_label(action)) + 2:
                break
            room -= len(_label(action)) + 2
            _append(text, action)
        for action in last:
            _append(text, action)
        self.show(text)


def _label(action: Action) -> str:
    return f"{action.key_text.split()[0]} {action.label}"


def _append(text: Text, action: Action) -> None:
    if text:
        text.append("  ")
    text.append(action.key_text.split()[0], style="bold")
    text.append(f" {action.label}")
