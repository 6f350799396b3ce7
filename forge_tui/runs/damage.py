"""Damage in a database: unreadable rows, each reported once."""

from __future__ import annotations

from pathlib import Path

# Of a longer gap only the beginning is kept.
_LISTED = 100_000


class Damage:
    """Rows of one database that are bad or missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bad: dict[str, dict[int, str]] = {}
        self._gone: dict[str, int] = {}
        self._gone_seqs: set[int] = set()
        self._gone_spans: set[tuple[int, int]] = set()

    def bad_row(self, table: str, key: int, why: str) -> None:
        """Record that row `key` of `table` is left out, with the reason `why`."""
        self._bad.setdefault(table, {})[key] = why

    def mend(self, table: str, key: int) -> None:
        """Record that row `key` of `table` was rewritten and is good."""
        self._bad.get(table, {}).pop(key, None)

    def count(self, table: str) -> int:
        """The number of bad rows of `table`."""
        return len(self._bad.get(table, ()))

    def missing(self, table: str, count: int) -> None:
        """Record that `count` rows of `table` are missing."""
        self._gone[table] = count

    def missing_seqs(self, after: int, end: int, present: set[int]) -> None:
        """Record as missing the numbers after `after` up to `end` that are not in `present`."""
        if len(present) == end - after:
            return
        if not present and end - after > _LISTED:
            self._gone_spans.add((after, end))
            return
        self._gone_seqs.update(seq for seq in range(after + 1, end + 1) if seq not in present)

    def in_words(self) -> tuple[str, ...]:
        """One sentence per damaged table."""
        sentences = [
            f"{self._path}: {_rows(len(keys))} of table {table} left out: {keys[min(keys)]} (first: number {min(keys)})"
            for table, keys in self._bad.items()
            if keys
        ]
        sentences += [
            f"{self._path}: {_rows(gone)} of table {table} missing" for table, gone in self._gone.items() if gone > 0
        ]
        gone = len(self._gone_seqs) + sum(end - after for after, end in self._gone_spans)
        if gone:
            first = min([*self._gone_seqs, *(after + 1 for after, _ in self._gone_spans)])
            sentences.append(f"{self._path}: {_rows(gone)} of the history missing (first: number {first})")
        return tuple(sentences)


def _rows(count: int) -> str:
    return f"{count} row{'s' if count != 1 else ''}"
