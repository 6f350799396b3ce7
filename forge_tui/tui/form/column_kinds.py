"""What the settings say a column is: reads and changes the lists of `[data]` that name it."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

from forge_tui.tables.table import clean_name
from forge_tui.tui.form.form_values import Form


class Declared(StrEnum):
    """What the settings say of a column, in the order in which a key steps through."""

    AUTO = "auto"
    NUMBER = "number"
    CATEGORY = "category"
    DATE = "date"
    IGNORED = "ignored"


LISTS: Mapping[Declared, str] = MappingProxyType(
    {
        Declared.IGNORED: "data.ignore",  # counts before the others
        Declared.NUMBER: "data.numbers",
        Declared.CATEGORY: "data.categories",
        Declared.DATE: "data.dates",
    }
)


def declared(form: Form, names: Sequence[str]) -> list[Declared]:
    """What the settings say of each column of a table with these names."""
    by_name: dict[str, Declared] = {}
    known = frozenset(names)
    for what, setting in LISTS.items():
        for entry in _entries(form, setting):
            for name in _named_by(entry, names, known):
                by_name.setdefault(name, what)
    return [by_name.get(name, Declared.AUTO) for name in names]


def following(what: Declared, by: int) -> Declared:
    """The next (1) or previous (-1) one."""
    every = list(Declared)
    return every[(every.index(what) + by) % len(every)]


def declare(form: Form, column: str, what: Declared, names: Sequence[str]) -> Form:
    """The form whose settings say that a column is `what`.

    The column's name is added as it is: an existing column's name is never read as a pattern. A pattern that matches
    it and says otherwise is replaced by the names of the other columns that it matches.
    """
    known = frozenset(names)
    for kind, setting in LISTS.items():
        named_by = [(entry, _named_by(entry, names, known)) for entry in _entries(form, setting)]
        is_named = any(column in found for _, found in named_by)
        if kind is what and not is_named:
            form = form.put(setting, [*(entry for entry, _ in named_by), column])
        elif kind is not what and is_named:
            kept = [one for entry, found in named_by for one in (found if column in found else [entry])]
            form = form.put(setting, [one for one in dict.fromkeys(kept) if one != column])
    return form


def swept_list(form: Form) -> str | None:
    """A list that has several values, of which a single one cannot be changed."""
    return next((setting for setting in LISTS.values() if form.swept(setting) is not None), None)


def _entries(form: Form, setting: str) -> list[str]:
    value = form.values[setting]
    # A value that is no list is being typed, and is refused.
    return [str(entry) for entry in value] if isinstance(value, list | tuple) else []


def _named_by(entry: str, names: Sequence[str], known: frozenset[str]) -> list[str]:
    """The columns that an entry of a list means, as `tables.study` reads it: a pattern only if none is called so."""
    wanted = clean_name(entry)
    return [wanted] if wanted in known else [name for name in names if fnmatch.fnmatchcase(name, wanted)]
