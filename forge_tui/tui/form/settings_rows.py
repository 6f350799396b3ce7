"""The rows of a list of settings, and how they are broken into lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from forge_tui.tui.widgets import cells

_SIGNS = {"error": "! ", "warning": "! "}


class Tone(StrEnum):
    """The meaning of a text; never shown by colour alone."""

    PLAIN = "plain"
    QUIET = "quiet"
    GOOD = "good"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Detail:
    """A sentence below a setting; long ones take several lines."""

    text: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a section. One with a `name` is a row that opens the section, or folds it."""

    title: str
    name: str = ""
    note: str = ""
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Item:
    """One setting. `editor_cells`: how wide its editor is; None for all of the value's width."""

    name: str
    title: str
    value: str
    note: str = ""
    tone: Tone = Tone.PLAIN
    changed: bool = False
    details: tuple[Detail, ...] = ()
    editor_cells: int | None = None


@dataclass(frozen=True, slots=True)
class RowLine:
    """One line on the screen: a heading, an item, or a part of a detail. `item` is its place among the items."""

    item: int
    row: Heading | Item | Detail | None
    text: str = ""


def arrange(rows: Sequence[Heading | Item], width: int, only_ascii: bool = False) -> tuple[RowLine, ...]:
    """The lines of a list with details of at most `width` cells; folded sections follow each other without a gap."""
    lines: list[RowLine] = []
    item = -1
    before: Heading | Item | None = None
    for row in rows:
        gap = not isinstance(before, Heading)
        before = row
        if isinstance(row, Heading):
            lines += [RowLine(item, None)] if gap else []
            lines.append(RowLine(item + 1, row))
            item += bool(row.name)
            continue
        item += 1
        lines.append(RowLine(item, row))
        for detail in row.details:
            sign = _SIGNS.get(detail.tone, "  ")
            for number, part in enumerate(wrap(cells.clean(detail.text, only_ascii), width)):
                lines.append(RowLine(item, detail, (sign if number == 0 else "  ") + part))
    return tuple(lines)


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, broken between words if possible."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cells.width_of(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while cells.width_of(word) > width:
            part = cells.head(word, width)
            lines.append(part)
            word = word[len(part) :]
        line = word
    return [*lines, line] if line or not lines else lines
