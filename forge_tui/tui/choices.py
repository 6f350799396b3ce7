"""The user's choices in the UI (theme, panes, the last form), kept in the state directory, never in settings."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.safe_io.plain_files import read_file
from forge_tui.safe_io.read_only import is_read_only
from forge_tui.safe_io.strict_json import Limits, parse_object
from forge_tui.safe_io.whole_files import make_private, write_atomically
from forge_tui.settings.user_file import state_directory

_LOG = logging.getLogger("forge_tui")
_LIMITS = Limits()


class UiChoices:
    """Values by name. A missing or damaged file counts as empty: nothing here is worth an error."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or state_directory() / "ui.json"
        self._values: dict[str, Any] = self._read()

    def _read(self) -> dict[str, Any]:
        try:
            return parse_object(read_file(self._path, _LIMITS.size), _LIMITS)
        except (OSError, ValueError):
            return {}

    def get(self, name: str, default: Any = None) -> Any:
        """The value of `name`, or `default` if it is missing or of another type."""
        value = self._values.get(name, default)
        return value if default is None or isinstance(value, type(default)) else default

    def put(self, name: str, value: Any) -> None:
        """Keep a JSON value; in a read-only process only until it ends."""
        if self._values.get(name) == value:
            return
        self._values[name] = value
        if is_read_only():
            return
        try:
            make_private(self._path.parent)
            write_atomically(self._path, json.dumps(self._values).encode())
        except (OSError, RunDirectoryError) as error:
            _LOG.debug("UI choices are not kept: %s", error)
