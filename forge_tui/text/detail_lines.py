"""Where a finished model errs, in words."""

from __future__ import annotations

from forge_tui.protocol.model_details import Confusion, Value, WorstRow
from forge_tui.safe_io.printing import printable
from forge_tui.text.figures import number

_WIDEST_MATRIX, _MOST_PAIRS = 12, 10
_LONGEST_NAME = 12
_LONGEST_VALUE = 40


def confusion_lines(confusion: Confusion) -> list[str]:
    """The matrix, a line per true class and a column per predicted one; of more than 12 classes the confused pairs."""
    if not confusion.matrix or len(confusion.classes) > _WIDEST_MATRIX:
        mistakes = confusion.most_confused()
        if not mistakes:
            return ["no class is taken for another"]
        return [
            f"{one.count:,} of {_text(one.true)} taken for {_text(one.predicted)}" for one in mistakes[:_MOST_PAIRS]
        ]
    names = [_text(name, _LONGEST_NAME) for name in confusion.classes]
    rows = [["true \\ predicted", *names]]
    rows += [[name, *(f"{count:,}" for count in row)] for name, row in zip(names, confusion.matrix, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def worst_lines(worst: tuple[WorstRow, ...]) -> list[str]:
    """A line per sample: its row, what it is, what the model says, and its loss."""
    return [
        f"{'a sample' if one.row is None else f'row {one.row:,}'}: is {_text(one.true)}, predicted "
        f"{_text(one.predicted)} (loss {number(one.loss)})"
        for one in worst
    ]


def _text(value: Value | None, most: int = _LONGEST_VALUE) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else printable(str(value))
    return text if len(text) <= most else f"{text[: most - 1]}…"
