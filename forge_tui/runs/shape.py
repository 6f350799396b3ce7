"""Checks that a database has exactly the tables of a run, before anything in it is read or written.

Views and triggers would run SQL from an untrusted file. The content is then checked row by row (`tables`,
`protocol.record_fields`).
"""

from __future__ import annotations

import sqlite3

from forge_tui.runs import tables
from forge_tui.safe_io.printing import escaped

LONGEST_VALUE = 256 << 20
"""Longer texts are not read (bytes); the largest record has `tables.RECORD.size`."""
_LEFT_BY_SQLITE = b"sqlite_"
_SHOWN = 60


def harden(connection: sqlite3.Connection) -> None:
    """Forbid dangerous functions in the database's own SQL, and detect damage early.

    Call it before anything is read. Raises `sqlite3.Error`.
    """
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)


def problem(connection: sqlite3.Connection, version: int) -> str | None:
    """How a database differs from its format, as a clause; None if it does not.

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
            continue  # SQLite's own, for keys and statistics
        if kind == b"table" and name.decode("utf-8", "replace") in wanted and page:  # virtual tables have no page
            found.add(name.decode())
        elif kind != b"index" or (name.decode("utf-8", "replace"), table.decode("utf-8", "replace")) not in indexes:
            what = "table" if kind == b"table" and not page else kind.decode("utf-8", "replace")
            return f"it has the {escaped(what)[:_SHOWN]} {text}, which no run has: another program has changed it"
    missing = sorted(wanted.keys() - found)
    if missing:
        return f"tables are missing ({', '.join(missing)})"
    for name in sorted(found):
        columns = sorted(_columns(connection, name))
        if columns != sorted(wanted[name]):
            return f"the table {name} has other columns than a run's: another program has changed it"
    return None


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """Names of a table's columns; computed ones have a suffix."""
    found = []
    for _, name, *_, hidden in connection.execute(f"PRAGMA table_xinfo({table})"):
        found.append(_bytes(name).decode("utf-8", "replace") + ("" if not hidden else " (computed)"))
    return found


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
