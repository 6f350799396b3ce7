"""Looks at the form's table, in the background: the newest request only, and what was found by the settings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from forge_tui.client.table_process import TableProcess
from forge_tui.errors import ForgeError
from forge_tui.protocol.table_look import TableLook

if TYPE_CHECKING:
    from forge_tui.tui.app_interface import CallInThread
    from forge_tui.tui.form.form_values import Form

_DATA = (
    *("target", "task", "ignore", "only", "categories", "numbers", "dates", "missing", "missing_target"),
    *("header", "separator", "decimal", "split", "group", "validation"),
)
_DATASET = "training.dataset"
# A person steps through kinds, or types a name: only what they stop at is looked at.
_PAUSE = 0.3
_MOST_KNOWN = 16


class Looking(Protocol):
    """One look at a table (`client.table_process.TableProcess`)."""

    def look(self) -> TableLook:
        """Wait for it; raises `ForgeError`."""

    def stop(self) -> None:
        """End it."""


class Timer(Protocol):
    """A timer that was set."""

    def stop(self) -> None:
        """Unset it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A table and the settings that it is looked at with (as JSON)."""

    path: str
    data: str


class TableLooks:
    """`known` is what was found for a form; `changed` are called when it has become known."""

    def __init__(
        self,
        call_in_thread: CallInThread,
        set_timer: Callable[[float, Callable[[], None]], Timer],
        begin: Callable[[Path, Mapping[str, Any]], Looking] | None = None,
    ) -> None:
        """`begin` makes a look; it has not begun before its `look` is called."""
        self.changed: list[Callable[[], None]] = []
        self._call_in_thread, self._set_timer = call_in_thread, set_timer
        self._begin = begin or TableProcess
        self._known: dict[Wanted, TableLook | ForgeError] = {}
        self._wanted: Wanted | None = None
        self._looking: Looking | None = None
        self._timer: Timer | None = None

    def known(self, form: Form) -> TableLook | ForgeError | None:
        """What was found, or why nothing can be; None if that is not known (yet)."""
        wanted = wanted_of(form)
        return None if wanted is None else self._known.get(wanted)

    def want(self, form: Form, *, anew: bool = False) -> None:
        """Look at the form's table soon; with `anew` at once, whatever is known of it: the file may have changed."""
        wanted = wanted_of(form)
        if wanted is None:
            self.stop()
            return
        if not anew and (wanted == self._wanted or wanted in self._known):
            if wanted != self._wanted:
                self.stop()
            return
        self.stop()
        self._wanted = wanted
        if anew:
            self._start()
        else:
            self._timer = self._set_timer(_PAUSE, self._start)

    def stop(self) -> None:
        """End a look that is under way."""
        if self._timer is not None:
            self._timer.stop()
        if self._looking is not None:
            self._looking.stop()
        self._timer = self._looking = self._wanted = None

    def _start(self) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        looking = self._looking = self._begin(Path(wanted.path), json.loads(wanted.data))

        def looked(result: TableLook | ForgeError) -> None:
            if looking is not self._looking:
                return  # a newer one is under way, or nobody wants it any more
            self._looking = self._timer = self._wanted = None
            self._known.pop(wanted, None)
            self._known[wanted] = result
            while len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            for each in tuple(self.changed):
                each()

        self._call_in_thread(looking.look, then=looked)


def wanted_of(form: Form) -> Wanted | None:
    """The form's table with its settings; None if its dataset is no table."""
    if not form.has_columns:
        return None
    data = {name: form.values[f"data.{name}"] for name in _DATA}
    # Relative to the working directory, which may have been deleted. Path.expanduser raises for unknown users.
    path = os.path.expanduser(str(form.all_values(_DATASET)[0]))
    return Wanted(path, json.dumps(data, sort_keys=True))
