"""The parser of the command line: its messages quote arguments, which may contain control characters."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn

from forge_tui.safe_io.printing import escaped


class Parser(argparse.ArgumentParser):
    """As the standard library's; errors have no harmful characters, and suggest a similar flag."""

    def error(self, message: str) -> NoReturn:
        """Print usage and `message`, and exit with 2."""
        super().error(escaped(message))

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As `argparse`: exits with 2 where an argument is not known."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant(unknown)}")
        return found

    def _meant(self, unknown: Sequence[str]) -> str:
        """The suggestion of flags similar to the unknown ones, or an empty text."""
        known = [option for action in self._actions for option in action.option_strings]
        flags = [word.partition("=")[0] for word in unknown if word.startswith("-") and word != "-"]
        near = [found for flag in flags for found in difflib.get_close_matches(flag, known, n=1)]
        return f"; did you mean {' '.join(dict.fromkeys(near))}?" if near else ""
