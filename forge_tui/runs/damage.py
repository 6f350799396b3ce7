"""What of a database could not be read, told in words and each row once."""

from __future__ import annotations

from pathlib import Path


class Damage:
    """Rows of one database that are bad or missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bad: dict[str, set[int]] = {}
        self._gone: dict[str, int] = {}
        self._gone_seqs: set[int] = set()

    def bad_row(self, table: str, key: int) -> None:
        """Row `key` of `table` does not match its checksum."""
        self._bad.setdefault(table, set()).add(key)

    def mend(self, table: str, key: int) -> None:
        """Row `key` of `table` was written anew and is good."""
        self._bad.get(table, set()).discard(key)

    def count(self, table: str) -> int:
        """How many bad rows of `table` there are."""
        return len(self._bad.get(table, ()))

    def missing(self, table: str, count: int) -> None:
        """`count` rows that must be in `table` are not."""
        self._gone[table] = count

    def missing_seqs(self, after: int, end: int, present: set[int]) -> None:
        """Of the numbers after `after` up to `end` those not in `present` are missing."""
        if len(present) != end - after:
            self._gone_seqs.update(seq for seq in range(after + 1, end + 1) if seq not in present)

    def in_words(self) -> tuple[str, ...]:
        """One sentence for each table that is damaged."""
        told = [
            f"{self._path}: {_rows(len(keys))} of table {table} left out: wrong checksum (first: number {min(keys)})"
            for table, keys in self._bad.items()
            if keys
        ]
        told += [
            f"{self._path}: {_rows(gone)} of table {table} missing" for table, gone in self._gone.items() if gone > 0
        ]
        if self._gone_seqs:
            first = min(self._gone_seqs)
            told.append(f"{self._path}: {_rows(len(self._gone_seqs))} of the history missing (first: number {first})")
        return tuple(told)


def _rows(count: int) -> str:
    return f"{count} row{'s' if count != 1 else ''}"
