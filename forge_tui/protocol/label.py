"""The name and the note that a user has given a run."""

from __future__ import annotations

from dataclasses import dataclass

from forge_tui.errors import UsageError
from forge_tui.safe_io.printing import printable

LONGEST_NAME, LONGEST_NOTE = 60, 1_000
"""Maximum lengths (characters)."""
_NOT_FIRST = "-.~"
# A name with one of these would be a path, or several words of a glob.
_NEVER = "/\\*?[]"


@dataclass(frozen=True, slots=True)
class Label:
    """`name`: what commands also accept for the run; `note`: a remark. Empty: there is none."""

    name: str = ""
    note: str = ""


NO_LABEL = Label()


def checked_run_name(text: str) -> str:
    """A name for a run as typed, without spaces around it; empty removes the name.

    Raises `UsageError` for one that could be taken for a path or an option, or is too long.
    """
    name = text.strip()
    if not name:
        return ""
    why = None
    if len(name) > LONGEST_NAME:
        why = f"has {len(name)} characters, and at most {LONGEST_NAME} are kept"
    elif not name.isprintable():
        why = "has characters that cannot be shown"
    elif name[0] in _NOT_FIRST:
        why = f"begins with {name[0]!r}"
    elif any(one in _NEVER for one in name):
        why = f"has {next(one for one in name if one in _NEVER)!r} in it"
    if why is not None:
        raise UsageError(
            f"the name {printable(name)[:LONGEST_NAME]!r} {why}: give letters, digits, spaces, '.', '_' and '-', such "
            "as 'baseline 2'"
        )
    return name


def checked_note(text: str) -> str:
    """A note as typed, on one line; empty removes it. Raises `UsageError` for one that is too long."""
    note = " ".join(printable(text).split())
    if len(note) > LONGEST_NOTE:
        raise UsageError(f"the note has {len(note):,} characters, and at most {LONGEST_NOTE:,} are kept")
    return note
