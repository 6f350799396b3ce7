"""Shortened styles look the same, whatever came before."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import Color
from rich.style import Style

from forge_tui.tui.terminal.sgr import shorten

_COLOURS = st.one_of(
    st.none(),
    st.integers(0, 255).map(Color.from_ansi),
    st.tuples(*[st.integers(0, 255)] * 3).map(lambda rgb: Color.from_rgb(*rgb)),
    st.just(Color.default()),
)
_FLAG = st.sampled_from([None, None, True])
_STYLES = st.builds(
    Style, color=_COLOURS, bgcolor=_COLOURS, bold=_FLAG, italic=_FLAG, underline=_FLAG, reverse=_FLAG, strike=_FLAG
)
_TEXTS = st.sampled_from(["abc", "  ", " x ", "━─", "\n", "\x1b[3;4H", "\n\x1b[2;1H", "\x1b[K", ""])
_PIECES = st.lists(st.tuples(st.one_of(st.none(), _STYLES), _TEXTS), max_size=12)


def _written(pieces: list[tuple[Style | None, str]]) -> str:
    """As Textual writes them: moves and erasures without a style, text in its own."""
    return "".join(
        text if style is None or text.startswith(("\n", "\x1b")) else style.render(text) for style, text in pieces
    )


def _looks(text: str) -> list[tuple[object, ...]]:
    """What stands in every cell; a blank has no colour of its own."""
    screen = pyte.Screen(20, 5)
    pyte.Stream(screen).feed(text + "end")
    cells: list[tuple[object, ...]] = []
    for y in range(5):
        for x in range(20):
            cell = screen.buffer[y][x]
            seen = (cell.bg, cell.reverse, cell.underscore, cell.strikethrough)
            blank = cell.data == " " and not cell.reverse and not cell.underscore and not cell.strikethrough
            cells.append((cell.data, *seen) if blank else (cell.data, *seen, cell.fg, cell.bold, cell.italics))
    return cells


@settings(max_examples=400, deadline=None)
@given(_PIECES)
def test_it_looks_the_same_and_leaves_no_style(pieces: list[tuple[Style | None, str]]) -> None:
    text = _written(pieces)
    assert _looks(shorten(text)) == _looks(text)
    assert len(shorten(text)) <= len(text)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("plain", "plain"),
        ("\x1b[1;31mred\x1b[0m\x1b[1;31mder\x1b[0m", "\x1b[1;31mredder\x1b[0m"),
        ("\x1b[31;44ma\x1b[0m\x1b[32;44mb\x1b[0m", "\x1b[31;44ma\x1b[32mb\x1b[0m"),
        ("\x1b[1;31ma\x1b[0m\x1b[31mb\x1b[0m", "\x1b[1;31ma\x1b[0;31mb\x1b[0m"),
        ("\x1b[31;44ma\x1b[0m\n\x1b[2;1H\x1b[31;44mb\x1b[0m", "\x1b[31;44ma\n\x1b[2;1Hb\x1b[0m"),
        ("\x1b[31;44ma\x1b[0m\x1b[32;44m  \x1b[0m\x1b[31;44mb\x1b[0m", "\x1b[31;44ma  b\x1b[0m"),
        ("\x1b[4:3ma\x1b[0m", "\x1b[4:3ma\x1b[0m"),
    ],
)
def test_only_what_differs_is_written(text: str, short: str) -> None:
    assert shorten(text) == short
