"""The line of each key of a TOML document: tomllib only gives values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable

_SPACE = re.compile(r"[ \t]*")
_FILLING = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_STRINGS = (
    re.compile(r'"""(?:\\.|(?!""").)*"""{1,3}', re.DOTALL),
    re.compile(r"'''(?:(?!''').)*'''{1,3}", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)

# Longer paths are cut: a hostile document could fill the memory with them.
_LONGEST_PATH = 4

KeyPath = tuple[str, ...]


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of the first mention of each table and key, by path: `("training", "epochs")`.

    `text` must be a document that tomllib accepts. Keys are reported to a depth of four.
    """
    return _Scanner(text.replace("\r\n", "\n")).document()


class _Scanner:
    """Scans a valid document and records where keys begin; skips values."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[KeyPath, int] = {}
        self._counted = 0
        self._line = 1

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(_FILLING) < len(self.text):
            if self.text[self.position] == "[":
                brackets = 2 if self.text.startswith("[[", self.position) else 1
                self.position += brackets
                table = self._key(())
                self.position += brackets
            else:
                self._pair(table)
        return self.lines

    def _pair(self, table: KeyPath) -> None:
        path = self._key(table)
        self.position += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _key(self, table: KeyPath) -> KeyPath:
        """Read a key, dotted or not, with the space around it; record the line of every part."""
        path = table
        while True:
            self._skip(_SPACE)
            start = self.position
            if self.text[start] in "\"'":
                self._string()
                part = tomllib.loads(f"key = {self.text[start : self.position]}")["key"]
            else:
                self._skip(_BARE_KEY)
                part = self.text[start : self.position]
            if len(path) < _LONGEST_PATH:
                path = (*path, part)
                self.lines.setdefault(path, self._line_of(start))
            self._skip(_SPACE)
            if self.text[self.position] != ".":
                return path
            self.position += 1

    def _value(self, path: KeyPath) -> None:
        match self.text[self.position]:
            case '"' | "'":
                self._string()
            case "[":
                self._items("]", lambda: self._value(path))
            case "{":
                self._items("}", lambda: self._pair(path))
            case _:
                self._skip(_BARE_VALUE)

    def _items(self, end: str, item: Callable[[], None]) -> None:
        self.position += 1
        while True:
            self._skip(_FILLING)
            if self.text[self.position] == end:
                break
            if self.text[self.position] == ",":
                self.position += 1
            else:
                item()
        self.position += 1

    def _string(self) -> None:
        for pattern in _STRINGS:
            if found := pattern.match(self.text, self.position):
                self.position = found.end()
                return

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.position)
        self.position = found.end() if found else self.position
        return self.position

    def _line_of(self, position: int) -> int:
        self._line += self.text.count("\n", self._counted, position)
        self._counted = position
        return self._line
