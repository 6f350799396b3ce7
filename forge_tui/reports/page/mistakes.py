"""Where the best model errs, on a page: its confusion matrix and its worst rows."""

from __future__ import annotations

from forge_tui.protocol.model_details import Confusion, ModelDetails, Value
from forge_tui.reports.page.tables import Section, data_table, number_cell, section
from forge_tui.text.figures import number
from forge_tui.text.markup import Markup, element

_SHADES = 5


def mistakes_section(name: str, details: ModelDetails) -> Section | None:
    """The section; None where nothing is known."""
    parts = []
    if details.confusion is not None:
        parts.append(_confusion(details.confusion))
    if details.worst:
        rows = [
            (
                "—" if one.row is None else f"{one.row:,}",
                _text(one.true),
                _text(one.predicted),
                number_cell(number(one.loss), one.loss),
            )
            for one in details.worst
        ]
        caption = "Rows with the largest losses (1 is the first row of the data)"
        parts.append(data_table(caption, ["Row", "Is", "Predicted", "Loss"], rows))
    if not parts:
        return None
    about = element("p", f"{name}, measured on the {details.split} split.", class_="about")
    return section("mistakes", "Where the best model errs", about, *parts)


def _confusion(confusion: Confusion) -> Markup:
    if not confusion.matrix:
        rows = [(_text(one.true), _text(one.predicted), number_cell(f"{one.count:,}", one.count))
                for one in confusion.most_confused()]  # fmt: skip
        return data_table("Most confused classes", ["Is", "Predicted", "Samples"], rows)
    names = [_text(name) for name in confusion.classes]
    head = element(
        "tr", element("th", "is \\ predicted", scope="col"), *(element("th", one, scope="col") for one in names)
    )
    body = [
        element(
            "tr",
            element("th", name, scope="row"),
            *(
                element("td", f"{count:,}", class_=_shade(count, sum(row), right=place == at))
                for at, count in enumerate(row)
            ),
        )
        for place, (name, row) in enumerate(zip(names, confusion.matrix, strict=True))
    ]
    caption = "Confusion matrix: samples by true class (rows) and predicted class (columns)"
    table = element(
        "table", element("caption", caption), element("thead", head), element("tbody", *body), class_="matrix"
    )
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _shade(count: int, of_class: int, *, right: bool) -> str:
    """The class of a cell: five shades by the share of its row, wrong ones in another colour."""
    if count == 0:
        return "number none"
    shade = min(_SHADES, 1 + int(_SHADES * count / of_class))
    return f"number {'right' if right else 'wrong'}-{shade}"


def _text(value: Value | None) -> str:
    if value is None:
        return "—"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
