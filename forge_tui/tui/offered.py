"""What a screen offers: all its actions on a terminal, fewer in a browser and in a read-only view."""

from __future__ import annotations

from typing import NamedTuple

from forge_tui.tui.bindings import Action, actions_of

CHANGES = frozenset(
    (
        "start", "open_setting", "next_kind", "previous_kind", "ignore_column", "make_target", "reset_column", "less",
        "more", "sweep", "reset_setting", "reset_all", "load_preset", "save_preset", "plan", "columns", "pause", "stop",
        "cancel", "retry", "workers", "kill", "resume", "delete", "new", "export", "label",
    )
)  # fmt: skip
"""Actions that start, steer, delete, export, save or pick something; a read-only view has none of them.

`columns` reads any table that the settings name, in a process of its own.
"""

READ_ONLY = "read-only: nothing can be started, steered, deleted, exported, saved or picked here"

_TERMINAL_ONLY = frozenset(("suspend_process", "mouse"))
_END_SESSION = "end this session in the browser; a live run that was started here: asks"


class Surroundings(NamedTuple):
    """Where the UI is shown: `in_browser`, and `read_only` for people who only look."""

    in_browser: bool = False
    read_only: bool = False


def offered(screen: str, surroundings: Surroundings) -> tuple[Action, ...]:
    """The actions of a screen there, in the order of the table."""
    actions = actions_of(screen)
    if surroundings.read_only:
        actions = tuple(action for action in actions if action.id not in CHANGES)
    if surroundings.in_browser:
        actions = tuple(_in_browser(action) for action in actions if action.id not in _TERMINAL_ONLY)
    return actions


def reason_against(action: str, surroundings: Surroundings) -> str | None:
    """Why an action's key does nothing there, or None."""
    if surroundings.read_only and action in CHANGES:
        return READ_ONLY
    if surroundings.in_browser and action in _TERMINAL_ONLY:
        return "this key is for a terminal, and does nothing in a browser"
    return None


def _in_browser(action: Action) -> Action:
    """The action with the key first that no browser keeps for itself."""
    if action.id == "leave":
        return action._replace(keys=("q",), help=_END_SESSION)
    if action.browser_key:
        return action._replace(keys=(action.browser_key, *action.keys))
    return action
