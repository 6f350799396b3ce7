"""The terminal's capabilities. Does not import Textual: the command line checks before it loads the screens."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from forge_tui.errors import UsageError
from forge_tui.safe_io.printing import is_plain_locale

TRUECOLOUR = 1 << 24
_NO_UTF8_FONT = ("linux", "vt100", "vt102", "vt220")
_NO_MOUSE = (*_NO_UTF8_FONT, "ansi")
_COLOURS_OF_SUFFIX = {"256color": 256, "kitty": 256}


class Capabilities(NamedTuple):
    """The capabilities of a terminal.

    `colours` is 0, 16, 256 or 2**24, and never more than Textual sends for the same environment. `problem` says why
    the UI cannot be shown and what to do instead, or is empty.
    """

    ascii: bool
    colours: int
    mouse: bool
    problem: str = ""

    @property
    def usable(self) -> bool:
        """Whether the UI can be shown."""
        return not self.problem

    def check(self) -> None:
        """Raise `UsageError` (exit status 2) if the UI cannot be shown."""
        if self.problem:
            raise UsageError(self.problem)


def capabilities(
    environ: Mapping[str, str], encoding: str | None, isatty: bool, *, force_ascii: bool = False
) -> Capabilities:
    """The capabilities of a terminal with this environment.

    `encoding` is that of the standard error stream, where Textual draws; `isatty`: whether standard input and standard
    error are both terminals (standard output may be a file). With `TEXTUAL_DRIVER` the display is a browser, which can
    do everything.
    """
    if environ.get("TEXTUAL_DRIVER"):
        return Capabilities(ascii=force_ascii, colours=0 if "NO_COLOR" in environ else TRUECOLOUR, mouse=True)
    term = environ.get("TERM", "").strip().lower()
    name = term.partition("-")[0]
    utf8 = (encoding or "").lower().replace("-", "").replace("_", "") in ("utf8", "utf8sig", "cp65001")
    return Capabilities(
        ascii=force_ascii or not utf8 or is_plain_locale(environ) or name in _NO_UTF8_FONT,
        colours=_colours(environ, term),
        mouse=name not in _NO_MOUSE,
        problem=_problem(term, isatty),
    )


def this_terminal(*, force_ascii: bool = False) -> Capabilities:
    """The capabilities of this process's terminal."""
    streams = (sys.__stdin__, sys.__stderr__)
    isatty = all(stream is not None and not stream.closed and stream.isatty() for stream in streams)
    encoding = getattr(sys.__stderr__, "encoding", None)
    return capabilities(os.environ, encoding, isatty, force_ascii=force_ascii)


def _colours(environ: Mapping[str, str], term: str) -> int:
    """Colours by the rules of rich's `Console`, which Textual draws with; none under NO_COLOR, whatever its value."""
    if "NO_COLOR" in environ or term in ("dumb", "unknown"):
        return 0
    if environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return TRUECOLOUR
    return _COLOURS_OF_SUFFIX.get(term.rpartition("-")[2], 16)


def _problem(term: str, isatty: bool) -> str:
    instead = "start with `forge-tui --no-ui` to train in batch mode"
    if not isatty:
        return f"the screens need a terminal on standard input and standard error, and there is none: {instead}"
    if term in ("dumb", "unknown"):
        return f"the screens cannot be drawn on a terminal with TERM={term}: {instead}, or set TERM"
    return ""
