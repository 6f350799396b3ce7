"""The help: all keys of a screen, from the table of actions."""

from __future__ import annotations

from rich.text import Text

from forge_tui.tui.bindings import actions_of
from forge_tui.tui.screens.dialogs import Reading

_TITLES = {"configure": "Configure", "watch": "Watch", "runs": "Runs", "model": "Model", "compare": "Compare"}


def help_screen(screen: str) -> Reading:
    """The keys of one screen, by group."""
    text = Text()
    text.append(f"{_TITLES.get(screen, screen)}: keys", style="bold")
    text.append("   (any key closes; arrows scroll)\n")
    actions = actions_of(screen)
    groups = dict.fromkeys(action.group for action in actions)
    width = max(len(action.key_text) for action in actions)
    for group in groups:
        text.append(f"\n{group}\n", style="bold underline")
        for action in actions:
            if action.group == group:
                text.append(f"  {action.key_text.ljust(width)}", style="bold")
                text.append(f"  {action.help}\n")
    return Reading(text)
