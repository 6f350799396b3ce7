"""Text never becomes markup in what is built of it."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from forge_tui.text.markup import Markup, data_script, element, joined

HOSTILE = "</script><!--<script>alert(1)</script>\"'>&amp;\x1b[31m\u202e\ud800"


class Seen(HTMLParser):
    """The elements, attributes and texts that a parser finds."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_text_and_attributes_are_escaped_and_lose_control_characters() -> None:
    seen = Seen(element("p", HOSTILE, title=HOSTILE))
    shown = "</script><!--<script>alert(1)</script>\"'>&amp; [31m  "
    assert seen.names == ["p"]
    assert seen.attributes == [("title", shown)]
    assert seen.text == shown


def test_what_was_built_stays_markup_and_none_is_left_out() -> None:
    assert element("p", element("b", "<"), None, ">") == "<p><b>&lt;</b>&gt;</p>"
    assert joined(["a<", Markup("<br>")]) == "a&lt;<br>"


def test_names_of_attributes_and_switches() -> None:
    made = element("input", class_="x", data_v="1", checked=True, disabled=False, title=None, max=0.5)
    assert made == '<input class="x" data-v="1" checked max="0.5">'


def test_data_for_a_script_ends_no_element_and_reads_as_it_was() -> None:
    value = {"label": HOSTILE, "numbers": [1.5, None]}
    made = data_script("data", value)
    inner = made.removeprefix('<script type="application/json" id="data">').removesuffix("</script>")
    assert not set(inner) & set("<>&")
    assert json.loads(inner) == value


def test_data_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        data_script("data", [float("nan")])
