"""Makes untrusted text safe to show: runs, files, names and exceptions must not control a terminal.

Harmful are control characters (C0, DEL, C1), direction marks and other invisible characters, invalid bytes
(surrogates), private and unassigned characters, and line and paragraph separators.
"""

from __future__ import annotations

import codecs
import io
import os
import shlex
import sys
import unicodedata
from collections.abc import Mapping
from typing import IO, Protocol

# Our own punctuation and drawings in ASCII.
PLAIN = str.maketrans(
    {
        **dict(zip("…×—–·←→▲▼●○✓✗⊘◆‖", "~x---<>^v*o+x/o=", strict=True)),
        **dict(zip("│─━┄", "|-=:", strict=True)),
        **dict.fromkeys("‘’", "'"),
        **dict.fromkeys("“”", '"'),
        **dict.fromkeys("└┤┬├┴┼╭╮╰╯┌┐┘", "+"),
        **dict.fromkeys("▁▂▃▄▅▆▇█▊▎▌▐▔", "#"),
    }
)
_IN_WORDS = {"±": "+-", "≤": "<=", "≥": ">=", "²": "^2", "µ": "u", "°": ""}
_HARMFUL = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_LINES = "\n\t"
LONGEST_MESSAGE = 2_000
"""Maximum length of an exception's message: it may contain a whole tensor, and the report repeats it."""


def printable(text: str, keep: str = "") -> str:
    """`text` with a space for every harmful character except those in `keep`."""
    if text.isprintable():  # nearly always, and a table of 10,000 models has millions of characters
        return text
    return "".join(one if one in keep or not _is_harmful(one) else " " for one in text)


def harmless(text: str) -> str:
    """`text` with a space for every harmful character except line breaks and tabs."""
    return printable(text, _LINES)


def escaped(text: str) -> str:
    """`text` with every harmful character escaped (`\\u001b`), so that it is visible."""
    if text.isprintable():
        return text
    return "".join(f"\\u{ord(one):04x}" if _is_harmful(one) else one for one in text)


def named(path: str | os.PathLike[str]) -> str:
    """A path or another name for a message: as `escaped`, always on one line."""
    return escaped(os.fspath(path))


def shortened(text: str, most: int) -> str:
    """`text` without its middle if it has more than `most` characters."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} … ({len(text) - most} characters are left out) … {text[-(most // 2) :]}"


def in_ascii(text: str) -> str:
    """`text` in ASCII, with the same width: `?` for a character without a plain equivalent."""
    if text.isascii():
        return text
    plain = text.translate(PLAIN)
    return "".join(one if one.isascii() else "?" * _cells(one) for one in plain)


def is_plain_locale(environ: Mapping[str, str]) -> bool:
    """Whether the locale is ASCII only (`LC_ALL=C`): Python still writes UTF-8 there by default."""
    if environ.get("PYTHONUTF8") == "1" or environ.get("PYTHONIOENCODING"):
        return False
    return (environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG")) in ("C", "POSIX")


def fit_streams_to_locale(environ: Mapping[str, str]) -> None:
    """Make standard output and error accept every text: characters outside their encoding are approximated."""
    codecs.register_error("plain", _plain_instead)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="ascii" if is_plain_locale(environ) else None, errors="plain")


def _plain_instead(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end].translate(PLAIN)
    found = "".join(_IN_WORDS.get(one, one) for one in found)
    return found.encode("ascii", "backslashreplace").decode("ascii"), error.end


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shell_word(text: str) -> str:
    """`text` as one word of a shell command: as `shlex.quote`, with harmful characters as shell escapes."""
    if not any(map(_is_harmful, text)):
        return shlex.quote(text)
    return "$'" + "".join(map(_in_shell_notation, text)) + "'"


def say(message: str, stream: IO[str] | None = None) -> None:
    """Print a message for people, by default to standard error.

    Continuation lines are indented, so that a line break in a name cannot fake a message of ours.
    """
    first, *others = message.split("\n")
    print("\n".join([escaped(first), *(f"  {escaped(line)}" for line in others)]), file=stream or sys.stderr)


def answer(text: str) -> None:
    """Print a line for scripts to standard output: unchanged; on a terminal with harmful characters escaped."""
    if sys.stdout.isatty():
        print(escaped(text))
        return
    # File names need not be text: Python keeps invalid bytes as surrogates, which cannot be encoded.
    answer_bytes(_bytes(text) + b"\n")


def answer_bytes(content: bytes) -> None:
    """Write the content of a file to standard output, unchanged."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


class Writable(Protocol):
    """A destination for text."""

    def write(self, text: str, /) -> int:
        """Write `text`; returns the number of characters."""


class Harmless:
    """A stream that writes to a terminal, without control characters."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str, /) -> int:
        """Write `text` with its line breaks."""
        return self._stream.write(harmless(text.replace("\r\n", "\n")))


def answers() -> Writable:
    """Standard output for scripts: unchanged, but harmless on a terminal."""
    return Harmless(sys.stdout) if sys.stdout.isatty() else sys.stdout


def _is_harmful(character: str) -> bool:
    return unicodedata.category(character) in _HARMFUL


def _in_shell_notation(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    return "".join(f"\\x{byte:02x}" for byte in _bytes(character)) if _is_harmful(character) else character


def _bytes(text: str) -> bytes:
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:  # half a pair, which no name of a file has
        return text.encode("utf-8", "replace")
