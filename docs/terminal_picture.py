"""Draws a terminal's screen as pixels, so that a picture looks the same without any font or network.

Needs Pillow and the fonts of matplotlib (extra `plots`). Blocks and braille, of which charts are made, are drawn as
what they stand for: a font leaves gaps between them.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import pyte
from PIL import Image, ImageDraw, ImageFont

_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_FOREGROUND, _BACKGROUND = "d7d7d7", "121212"
_NAMED = {
    "black": "1e1e1e", "red": "e06c75", "green": "98c379", "brown": "e5c07b", "blue": "61afef", "magenta": "c678dd",
    "cyan": "56b6c2", "white": "d7d7d7", "brightblack": "6a6b6d", "brightred": "ff7b85", "brightgreen": "b5e890",
    "brightbrown": "ffd787", "brightblue": "87c7ff", "brightmagenta": "e39cff", "brightcyan": "7fe0ec",
    "brightwhite": "ffffff",
}  # fmt: skip
_STYLES = ((False, False, ""), (True, False, "-Bold"), (False, True, "-Oblique"), (True, True, "-BoldOblique"))
# Of a braille character the place (column, row) of each dot by its bit.
_DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
_QUADRANTS = {  # upper left, upper right, lower left, lower right
    "▖": (0, 0, 1, 0), "▗": (0, 0, 0, 1), "▘": (1, 0, 0, 0), "▙": (1, 0, 1, 1), "▚": (1, 0, 0, 1), "▛": (1, 1, 1, 0),
    "▜": (1, 1, 0, 1), "▝": (0, 1, 0, 0), "▞": (0, 1, 1, 0), "▟": (0, 1, 1, 1),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """How a cell looks: colours as `rrggbb`."""

    text: str
    foreground: str
    background: str
    bold: bool
    italic: bool
    underlined: bool


class Painter:
    """Draws screens with cells of a size that follows from the font's size in pixels."""

    def __init__(self, size: int = 15) -> None:
        self._fonts = {
            (bold, italic): ImageFont.truetype(str(_FONTS / f"DejaVuSansMono{name}.ttf"), size)
            for bold, italic, name in _STYLES
        }
        plain = self._fonts[False, False]
        ascent, descent = plain.getmetrics()
        self.width, self.height = round(plain.getlength("M")), ascent + descent
        self._cells: dict[Look, Image.Image] = {}

    def paint(self, screen: pyte.Screen) -> Image.Image:
        """The screen, without its cursor."""
        picture = Image.new("RGB", (screen.columns * self.width, screen.lines * self.height), f"#{_BACKGROUND}")
        for row in range(screen.lines):
            for column in range(screen.columns):
                cell = screen.buffer[row][column]
                if cell.data == "" or (cell.data == " " and cell.bg == "default" and not cell.reverse):
                    continue  # the second half of a wide character, or nothing
                picture.paste(self._cell(look_of(cell)), (column * self.width, row * self.height))
        return picture

    def _cell(self, look: Look) -> Image.Image:
        if look not in self._cells:
            self._cells[look] = self._drawn(look)
        return self._cells[look]

    def _drawn(self, look: Look) -> Image.Image:
        cells = 2 if unicodedata.east_asian_width(look.text[:1] or " ") in ("W", "F") else 1
        width, height = cells * self.width, self.height
        image = Image.new("RGB", (width, height), f"#{look.background}")
        draw, colour = ImageDraw.Draw(image), f"#{look.foreground}"
        if (boxes := shapes(look.text, width, height)) is not None:
            for left, top, right, bottom in boxes:
                draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
        elif look.text in "░▒▓":
            part = {"░": 0.25, "▒": 0.5, "▓": 0.75}[look.text]
            image.paste(Image.blend(image, Image.new("RGB", image.size, colour), part))
        else:
            draw.text((0, 0), look.text, fill=colour, font=self._fonts[look.bold, look.italic])
        if look.underlined:
            draw.line((0, height - 2, width, height - 2), fill=colour)
        return image


def look_of(cell: pyte.screens.Char) -> Look:
    """How a cell of pyte looks."""
    foreground, background = _colour(cell.fg, _FOREGROUND), _colour(cell.bg, _BACKGROUND)
    if cell.reverse:
        foreground, background = background, foreground
    return Look(cell.data, foreground, background, cell.bold, cell.italics, cell.underscore)


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return _NAMED.get(name, name)


@cache
def shapes(text: str, width: int, height: int) -> tuple[tuple[int, int, int, int], ...] | None:
    """The rectangles (left, top, right, bottom) of a block or a braille character; None for any other."""
    if len(text) != 1:
        return None
    code = ord(text)
    if 0x2800 <= code <= 0x28FF:
        return tuple(_dot(column, row, width, height) for bit, (column, row) in enumerate(_DOTS) if code >> bit & 1)
    if text == "▀":
        return ((0, 0, width, height // 2),)
    if 0x2581 <= code <= 0x2588:  # from the bottom, in eighths
        return ((0, height - round(height * (code - 0x2580) / 8), width, height),)
    if 0x2589 <= code <= 0x258F:  # from the left
        return ((0, 0, round(width * (0x2590 - code) / 8), height),)
    if text == "▐":
        return ((width // 2, 0, width, height),)
    if text == "▔":
        return ((0, 0, width, round(height / 8)),)
    if text == "▕":
        return ((width - round(width / 8), 0, width, height),)
    if text in _QUADRANTS:
        half, middle = width // 2, height // 2
        places = (
            (0, 0, half, middle),
            (half, 0, width, middle),
            (0, middle, half, height),
            (half, middle, width, height),
        )
        return tuple(place for place, is_set in zip(places, _QUADRANTS[text], strict=True) if is_set)
    return None


def _dot(column: int, row: int, width: int, height: int) -> tuple[int, int, int, int]:
    size = max(2, width // 4)
    left = round((column + 0.5) * width / 2 - size / 2)
    top = round((row + 0.5) * height / 4 - size / 2)
    return left, top, left + size, top + size
