"""A process that only looks: what starts, steers, deletes or writes refuses, whatever asked for it.

`forge-tui attach --read-only` and the sessions of `forge-tui serve --read-only` enter this state before the first
screen. It belongs to the process, so that no screen, dialog or thread can forget it, and there is no way back.
"""

from __future__ import annotations

from forge_tui.errors import ReadOnlyError


class _State:
    entered = False


def become_read_only() -> None:
    """Refuse all changes in this process from now on."""
    _State.entered = True


def is_read_only() -> bool:
    """Whether this process refuses changes."""
    return _State.entered


def refuse_if_read_only(what: str) -> None:
    """Raise `ReadOnlyError` if this process is read-only; `what` would have been done: "start a run"."""
    if _State.entered:
        raise ReadOnlyError(f"read-only: this view does not {what}; open it without --read-only to do that")
