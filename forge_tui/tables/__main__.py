"""`python -P -m forge_tui.tables`: looks at a table for another process (`client.table_process`), which then needs no
polars.

Reads `{"file": PATH, "data": {…}}` from standard input, with values of `[data]`, and prints `{"look": {…}}` or
`{"error": WORDS}`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, Any

from forge_tui.errors import ForgeError


def main(asked: IO[str], answered: IO[str]) -> None:
    """Answer one request."""
    from forge_tui.settings.schema import from_plain
    from forge_tui.tables.look import look_at

    request: dict[str, Any] = json.load(asked)
    try:
        settings = from_plain({"data": request["data"]})
        reply: dict[str, Any] = {"look": look_at(Path(request["file"]), settings.data).to_record()}
    except ForgeError as error:
        reply = {"error": str(error)}
    json.dump(reply, answered)


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
