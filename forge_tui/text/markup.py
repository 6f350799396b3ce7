"""Builds HTML and SVG in which text cannot become markup: every string is escaped unless it was built here."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any

from forge_tui.safe_io.printing import harmless

_VOID = frozenset(("br", "col", "hr", "img", "input", "meta"))


class Markup(str):
    """Text that is markup already; only this module makes it of other text."""

    __slots__ = ()


Part = str | Markup | None
"""Content of an element: a string is escaped, None is left out."""


def escaped(text: str) -> Markup:
    """`text` for content and for attribute values in quotes; control characters become spaces."""
    return Markup(html.escape(harmless(text)))


def joined(parts: Iterable[Part]) -> Markup:
    """The parts one after another."""
    return Markup("".join(part if isinstance(part, Markup) else escaped(part) for part in parts if part is not None))


def element(name: str, *parts: Part, **attributes: str | float | bool | None) -> Markup:
    """An element. In names of attributes `_` stands for `-`, at the end for nothing (`class_`).

    None and False leave an attribute out, True gives it no value.
    """
    given = "".join(map(_attribute, attributes, attributes.values()))
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{joined(parts)}</{name}>")


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {written}"
    text = value if isinstance(value, str) else f"{value:g}"
    return f' {written}="{escaped(text)}"'


def data_script(identifier: str, value: Any) -> Markup:
    """`value` as JSON in an element that scripts read. No text in it ends the element or begins a comment.

    Raises `ValueError` for NaN and infinity, which JSON does not have.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{escaped(identifier)}">{text}</script>')
