"""Whether a database has the tables of a run and nothing else: seen before anything of it is read or written.

A view in place of a table computes what it shows, and a trigger runs with each row that is written: both are SQL of
whoever made the file. What it holds is then checked row by row (`tables`, `protocol.record_fields`).
"""

from __future__ import annotations

import sqlite3

from forge_tui.runs import tables
from forge_tui.safe_io.printing import escaped

LONGEST_VALUE = 256 << 20
"""No text of a row is read that has more bytes; the largest record has `tables.RECORD.size`."""
_LEFT_BY_SQLITE = b"sqlite_"
_SHOWN = 60


def harden(connection: sqlite3.Connection) -> None:
    """Let the database's own SQL call no function that could do harm, and be told of damage early.

    Call it before anything is read. Raises `sqlite3.Error`.
    """
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)


def problem(connection: sqlite3.Connection, version: int) -> str | None:
    """What a database of a format has that none of ours has, or lacks, as a clause; None where all is as it should be.

    Raises `sqlite3.Error`.
    """
    wanted = {name: list(columns) for name, columns in tables.columns(version).items()}
    indexes = {(name, table) for name, table in tables.INDEXES}
    found = set()
    rows = connection.execute("SELECT type, name, tbl_name, rootpage FROM sqlite_schema").fetchall()
    for kind, name, table, page in rows:
        kind, name, table = (_bytes(one) for one in (kind, name, table))
        text = escaped(name.decode("utf-8", "replace"))[:_SHOWN]
        if name.startswith(_LEFT_BY_SQLITE) and kind in (b"table", b"index"):
            continue  # of its own keys and statistics
        if kind == b"table" and name.decode("utf-8", "replace") in wanted and page:  # virtual tables have no page
            found.add(name.decode())
        elif kind != b"index" or (name.decode("utf-8", "replace"), table.decode("utf-8", "replace")) not in indexes:
            what = "table" if kind == b"table" and not page else kind.decode("utf-8", "replace")
            return f"it has the {escaped(what)[:_SHOWN]} {text}, which no run has: somebody else has changed it"
    missing = sorted(wanted.keys() - found)
    if missing:
        return f"tables are missing ({', '.join(missing)})"
    for name in sorted(found):
        columns = sorted(_columns(connection, name))
        if columns != sorted(wanted[name]):
            return f"the table {name} has other columns than a run's: somebody else has changed it"
    return None


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """Names of a table's columns; one that is computed has a mark that no name of ours has."""
    found = []
    for _, name, *_, hidden in connection.execute(f"PRAGMA table_xinfo({table})"):
        found.append(_bytes(name).decode("utf-8", "replace") + ("" if not hidden else " (computed)"))
    return found


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
