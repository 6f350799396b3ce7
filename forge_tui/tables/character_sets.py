"""Finds how a text file is encoded, and makes UTF-8 of it."""

from __future__ import annotations

import codecs

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOKED_AT = 1 << 16
# Control characters that no text has; tab, line breaks and form feed are allowed.
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r\x0c\x1a")


def to_utf8(content: bytes, source: str) -> tuple[bytes, str]:
    """The text as UTF-8 without a byte order mark, and the encoding that was found.

    A mark decides; else zero bytes mean UTF-16; else it is UTF-8 if it can be, and Windows-1252 (a superset of
    Latin-1's printable characters) if not. Raises `DataError` for what is no text.
    """
    encoding, begin = _declared(content)
    if encoding == "utf-8":
        content = content[begin:] if begin else content
        try:
            if not content.isascii():
                content.decode()
        except UnicodeDecodeError as error:
            if begin:
                raise _no_text(source, f"byte {begin + error.start + 1}: {error.reason}") from None
        else:
            if b"\0" in content:
                raise _no_text(source, "it has zero bytes")
            return content, "utf-8"
        if any(code in content for code in _CONTROLS) or b"\x7f" in content:
            raise _no_text(source, "it has control characters, and is not UTF-8")
        return _western(content)
    try:
        return content[begin:].decode(encoding).encode(), encoding
    except UnicodeDecodeError as error:
        raise _no_text(source, f"byte {begin + error.start + 1} of {encoding}: {error.reason}") from None


def is_wide(content: bytes) -> bool:
    """Whether a text's beginning is UTF-16 or UTF-32, of which a piece has no meaning of its own."""
    return _declared(content)[0] != "utf-8"


def _declared(content: bytes) -> tuple[str, int]:
    """The encoding that a mark or zero bytes tell (`utf-8`: none does), and the length of the mark."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding, len(mark)
    beginning = content[:_LOOKED_AT]
    even, odd = beginning[0::2].count(0), beginning[1::2].count(0)
    if max(even, odd) > len(beginning) // 4 and min(even, odd) == 0:
        return "utf-16-le" if odd else "utf-16-be", 0
    return "utf-8", 0


def _western(content: bytes) -> tuple[bytes, str]:
    try:
        return content.decode("cp1252").encode(), "windows-1252"
    except UnicodeDecodeError:
        return content.decode("latin-1").encode(), "latin-1"


def _no_text(source: str, why: str) -> DataError:
    return DataError(f"{named(source)} is no text ({why}); save it as UTF-8")
