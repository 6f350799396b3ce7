"""Tables of a page: headings with a scope, numbers at the right, and what a script sorts by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forge_tui.text.markup import Markup, Part, element, joined

_LONG = 60


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell; `value` is what a script sorts by instead of the text."""

    content: Part
    value: float | None = None
    is_number: bool = False
    classes: str = ""


def number_cell(text: str, value: float | None) -> Cell:
    """A number at the right."""
    return Cell(text, value, True)


def data_table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[Cell | str]], *, sortable: bool = False
) -> Markup:
    """A table whose first column names the row; it scrolls sideways where it is too wide."""
    listed = list(rows)
    is_number = [isinstance(cell, Cell) and cell.is_number for cell in listed[0]] if listed else [False] * len(head)
    headings = [
        element("th", text, scope="col", class_="number" if right else None)
        for text, right in zip(head, is_number, strict=True)
    ]
    made = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *headings)),
        element("tbody", *map(_row, listed)),
        class_="sortable" if sortable else None,
    )
    return element("div", made, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _row(cells: Sequence[Cell | str]) -> Markup:
    made = []
    for place, cell in enumerate(cells):
        one = Cell(cell) if isinstance(cell, str) else cell
        classes = " ".join(filter(None, ("number" if one.is_number else "", one.classes)))
        made.append(
            element(
                "td" if place else "th", one.content, scope=None if place else "row", class_=classes or None,
                data_v=None if one.value is None else f"{one.value:.9g}",
            )
        )  # fmt: skip
    return element("tr", *made)


def facts(pairs: Iterable[tuple[str, Part]]) -> Markup:
    """A list of names and what they are; what is long has a line of its own."""
    return element(
        "dl",
        *(
            element(
                "div", element("dt", name), element("dd", what),
                class_="wide" if what is not None and len(what) > _LONG else None,
            )
            for name, what in pairs
        ),
    )  # fmt: skip


def folded(summary: str, *parts: Part, is_open: bool = False) -> Markup:
    """Content that is shown on demand."""
    return element("details", element("summary", summary), *parts, open=is_open)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page that the list of contents leads to; `name` is its id."""

    name: str
    title: str
    content: Markup

    def whole(self) -> Markup:
        """The element, with its heading."""
        heading = element("h2", self.title, id=f"{self.name}-title")
        return element("section", heading, self.content, id=self.name, aria_labelledby=f"{self.name}-title")


def section(name: str, title: str, *parts: Part) -> Section:
    """The section of these parts."""
    return Section(name, title, joined(parts))


def paragraphs(texts: Iterable[str], classes: str | None = None) -> Markup:
    """A paragraph per text."""
    return joined(element("p", text, class_=classes) for text in texts)
