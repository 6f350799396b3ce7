"""Shortens colour codes: Textual writes every piece's colours in full and resets them after it.

At 80×24 three quarters of a table's output are such codes, which matters over SSH.
"""

from __future__ import annotations

import re

# Rich writes each style in full, and resets it after its text.
_CODE = re.compile(r"\x1b\[([0-9;:]*)m")
# Cursor movements: independent of the style.
_MOVES = re.compile(r"(\n|\r|\x1b\[[0-9;]*H)+")
# Underlined, reversed or struck out: visible on a blank beside its background.
_SEEN_ON_BLANKS = frozenset("479")
_NOTHING: tuple[str, str, str] = ("", "", "")


def shorten(text: str) -> str:
    """`text` with each style written as the difference from the previous one.

    It looks the same on every terminal, and ends without a style if `text` does. Unknown codes stay unchanged.
    """
    pieces = _CODE.split(text)
    if len(pieces) < 3:
        return text
    shown = wanted = _NOTHING
    written = [pieces[0]]
    for place in range(1, len(pieces), 2):
        code, after = pieces[place], pieces[place + 1]
        style = _parsed(code)
        if style is None:  # something else: unchanged, from no style
            written.append(("" if shown == _NOTHING else "\x1b[0m") + f"\x1b[{code}m{after}")
            shown = wanted = _UNKNOWN
            continue
        if style == _NOTHING:
            wanted = _NOTHING
        elif wanted == _NOTHING:
            wanted = style
        else:  # on top of another style
            wanted = (wanted[0] + style[0], style[1] or wanted[1], style[2] or wanted[2])
        if not after:
            continue
        if _MOVES.fullmatch(after):
            written.append(after)
            continue
        needed = _needed(shown, wanted) if not after.strip(" ") else wanted
        written.append(_change(shown, needed) + after)
        shown = needed
    written.append(_change(shown, wanted))
    return "".join(written)


_UNKNOWN = ("?", "?", "?")


def _needed(shown: tuple[str, str, str], wanted: tuple[str, str, str]) -> tuple[str, str, str]:
    """For blanks: the current style if it has the wanted background, else only that background."""
    if shown == _UNKNOWN or _SEEN_ON_BLANKS.intersection((shown[0] + wanted[0]).replace(";", "")):
        return wanted
    return shown if shown[2] == wanted[2] else ("", "", wanted[2])


def _change(shown: tuple[str, str, str], wanted: tuple[str, str, str]) -> str:
    if shown == wanted:
        return ""
    if wanted == _NOTHING:
        return "\x1b[0m"
    # A single colour cannot be reset, nor bold: start from no style.
    fresh = shown[0] != wanted[0] or (shown[1] and not wanted[1]) or (shown[2] and not wanted[2])
    parts = [] if not fresh or shown == _NOTHING else ["0"]
    parts += [now for now, then in zip(wanted, _NOTHING if fresh else shown, strict=True) if now and now != then]
    return f"\x1b[{';'.join(parts)}m"


_PARSED: dict[str, tuple[str, str, str] | None] = {}
_MOST_KEPT = 4096


def _parsed(code: str) -> tuple[str, str, str] | None:
    """Attributes, foreground and background of a code; None if it has anything else."""
    try:
        return _PARSED[code]
    except KeyError:
        if len(_PARSED) >= _MOST_KEPT:
            _PARSED.clear()
        found = _PARSED[code] = _parse(code)
        return found


def _parse(code: str) -> tuple[str, str, str] | None:
    attributes: list[str] = []
    colours = {"3": "", "4": ""}
    numbers = code.split(";")
    if numbers in ([""], ["0"]):
        return _NOTHING
    place = 0
    while place < len(numbers):
        number = numbers[place]
        length = 1
        if number in ("38", "48"):
            length = {"5": 3, "2": 5}.get(numbers[place + 1] if place + 1 < len(numbers) else "", 0)
            if not length or place + length > len(numbers):
                return None
            colours[number[0]] = ";".join(numbers[place : place + length])
        elif re.fullmatch(r"[34][0-79]", number):
            colours[number[0]] = number
        elif re.fullmatch(r"(9|10)[0-7]", number):
            colours["3" if number[0] == "9" else "4"] = number
        elif number in ("1", "2", "3", "4", "5", "7", "9"):
            attributes.append(number)
        else:
            return None
        place += length
    return ";".join(attributes), colours["3"], colours["4"]
