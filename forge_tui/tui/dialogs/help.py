"""The help: all keys of a screen, from the table of actions."""

from __future__ import annotations

import textwrap

from rich.text import Text

from forge_tui.tui.bindings import TITLES
from forge_tui.tui.dialogs.questions import Reading
from forge_tui.tui.offered import Surroundings, offered

# Cells for border, padding and scrollbar of a `Reading`, and its maximum width.
_FRAME, _WIDEST = 7, 90
_LEAST = 20


def help_screen(screen: str, width: int, surroundings: Surroundings) -> Reading:
    """The keys of one screen, by group, for a terminal `width` cells wide."""
    text = Text()
    text.append(f"{TITLES[screen]}: keys", style="bold")
    text.append("   (arrows scroll, Enter closes)\n")
    actions = offered(screen, surroundings)
    groups = dict.fromkeys(action.group for action in actions)
    keys = max(len(action.key_text) for action in actions)
    room = max(_LEAST, min(_WIDEST, int(0.98 * width)) - _FRAME - keys - 4)
    for group in groups:
        text.append(f"\n{group}\n", style="bold underline")
        for action in actions:
            if action.group == group:
                text.append(f"  {action.key_text.ljust(keys)}", style="bold")
                lines = textwrap.wrap(action.help, room)
                text.append("  " + f"\n{' ' * (keys + 4)}".join(lines) + "\n")
    return Reading(text)
