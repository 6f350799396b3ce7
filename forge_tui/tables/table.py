"""A table as it was read, before anything is known of what its columns mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFormat:
    """How a text table is written. `separator` is one character, `decimal` is `.` or `,`."""

    encoding: str
    separator: str
    decimal: str
    header: bool

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Rows and columns of any source. `source` names it in messages.

    The columns of `frame` are called by their position (`0`, `1`, …); `names` has their names as in the file, without
    spaces around them, `""` where there is none. Values of a text table are text. `format`: None for typed sources.
    `begin`: how many rows of its source are above it, if it is a piece of it.
    """

    source: str
    names: tuple[str, ...]
    frame: polars.DataFrame
    format: TextFormat | None = None
    begin: int = 0

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.frame.height

    @property
    def decimal(self) -> str:
        """The decimal mark of numbers in text."""
        return "." if self.format is None else self.format.decimal

    def column(self, position: int) -> polars.Series:
        """The values of a column."""
        return self.frame.to_series(position)

    def place(self, position: int) -> str:
        """`FILE: column 'name'`, for messages."""
        name = self.names[position]
        return named(f"{self.source}: column {name!r}" if name else f"{self.source}: column {position + 1}")


def by_position(frame: polars.DataFrame) -> polars.DataFrame:
    """The frame with columns called by their position."""
    found = frame.clone()
    found.columns = [str(position) for position in range(frame.width)]
    return found


def one_below_the_other(table: Table, held: Table) -> Table:
    """Both tables' rows, `held` below; its columns are matched by name. Raises `DataError` unless they fit."""
    import polars

    if set(held.names) != set(table.names):
        raise DataError(
            f"{named(table.source)}: training has the columns {listed(table.names)}, validation {listed(held.names)}; "
            "they must be alike"
        )
    if held.decimal != table.decimal:
        raise DataError(
            f"{named(held.source)} has {held.decimal!r} as decimal mark, and {named(table.source)} {table.decimal!r}; "
            "write both alike"
        )
    order = [held.names.index(name) for name in table.names]
    below = by_position(held.frame.select([str(place) for place in order]))
    try:
        return replace(table, frame=polars.concat([table.frame, below], how="vertical_relaxed"))
    except polars.exceptions.PolarsError as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{named(table.source)}: training and validation differ in type: {reason}") from None


def positions_of(table: Table, wanted: Sequence[str]) -> list[int]:
    """Where the columns of those names are. Raises `DataError` naming those that the table lacks."""
    places = {name: position for position, name in enumerate(table.names)}
    absent = [name for name in wanted if name not in places]
    if absent:
        raise DataError(
            f"{named(table.source)} has no column {listed(absent)}; the model was trained with {listed(wanted)}"
        )
    return [places[name] for name in wanted]


def clean_name(name: str) -> str:
    """A column's name without spaces around it; line breaks in it stay."""
    return name.strip(" \t\u00a0\ufeff")


def clean_names(names: Sequence[str], source: str) -> tuple[str, ...]:
    """All names of a table. Raises `DataError` if two columns have the same one."""
    found = tuple(clean_name(name) for name in names)
    given = [name for name in found if name]
    repeated = (
        list(dict.fromkeys(name for name in given if given.count(name) > 1)) if len(set(given)) < len(given) else []
    )
    if repeated:
        raise DataError(
            f"{named(source)}: several columns are called {listed(repeated)}; give every column its own name"
        )
    return found


def listed(names: Sequence[str], most: int = 12) -> str:
    """`'a', 'b' and 3 more`: names for an error message."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
