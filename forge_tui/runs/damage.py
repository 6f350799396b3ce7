"""What of a database could not be read, told in words and each row once."""

from __future__ import annotations

from pathlib import Path

# Of a gap this long only where it begins is kept.
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
        """Row `key` of `table` is left out: `why` in words."""
        self._bad.setdefault(table, {})[key] = why

    def mend(self, table: str, key: int) -> None:
        """Row `key` of `table` was written anew and is good."""
        self._bad.get(table, {}).pop(key, None)

    def count(self, table: str) -> int:
        """How many bad rows of `table` there are."""
        return len(self._bad.get(table, ()))

    def missing(self, table: str, count: int) -> None:
        """`count` rows that must be in `table` are not."""
        self._gone[table] = count

    def missing_seqs(self, after: int, end: int, present: set[int]) -> None:
        """Of the numbers after `after` up to `end` those not in `present` are missing."""
        if len(present) == end - after:
            return
        if not present and end - after > _LISTED:
            self._gone_spans.add((after, end))
            return
        self._gone_seqs.update(seq for seq in range(after + 1, end + 1) if seq not in present)

    def in_words(self) -> tuple[str, ...]:
        """One sentence for each table that is damaged."""
        told = [
            f"{self._path}: {_rows(len(keys))} of table {table} left out: {keys[min(keys)]} (first: number {min(keys)})"
            for table, keys in self._bad.items()
            if keys
        ]
        told += [
            f"{self._path}: {_rows(gone)} of table {table} missing" for table, gone in self._gone.items() if gone > 0
        ]
        gone = len(self._gone_seqs) + sum(end - after for after, end in self._gone_spans)
        if gone:
            first = min([*self._gone_seqs, *(after + 1 for after, _ in self._gone_spans)])
            told.append(f"{self._path}: {_rows(gone)} of the history missing (first: number {first})")
        return tuple(told)


def _rows(count: int) -> str:
    return f"{count} row{'s' if count != 1 else ''}"
