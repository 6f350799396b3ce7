"""Dates and times, as types and as text, as seconds since 1970."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars

# In the order of trying. Day first and month first: what fits every value; month first if both do.
_DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%m/%d/%y"),
    *("%d/%m/%y", "%d.%m.%y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y"),
    *("%b-%d-%Y", "%Y-%m", "%b %Y", "%b-%Y", "%B %Y"),
)
_TIMES = (" %H:%M:%S%.f", "T%H:%M:%S%.f", " %H:%M", "T%H:%M", " %I:%M:%S %p", " %I:%M %p")
_ZONES = ("%:z", " %:z", "%z")
_HOURS = ("%H:%M:%S%.f", "%H:%M", "%I:%M %p", "%I:%M:%S %p")
# What any date or time has: most columns of text are none, and are not tried with each format.
_LIKE_DATE = (
    r"^\d{1,4}[-/. ](\d{1,2}|[A-Za-z]{3,9})[-/. ]\d{1,4}|^[A-Za-z]{3,9}[- ]\d{1,2},?[- ]\d{4}|^\d{1,2}:\d{2}"
    r"|^\d{4}-\d{2}$|^[A-Za-z]{3,9}[- ]\d{4}$"
)
_MONTHS, _SEASON = "%Y-%m", r"^\d\d(\d\d)-(\d\d)$"
# The parser takes 5 for a year, too.
_LONG_YEAR, _SHORT_YEAR = r"(^|\D)\d{4}(\D|$)", r"^\d{1,2}[-/. ](\d{1,2}|[A-Za-z]{3})[-/. ]\d{2}(\D|$)"
_TRIED = 1_000
HOURS = "time"
"""The prefix of a format of times without a date."""


def format_of(column: polars.Series) -> str | None:
    """The format that every text of a column has, nulls aside; None if there is none."""
    texts = column.drop_nulls()
    if not len(texts) or not texts.str.contains(_LIKE_DATE).all():
        return None
    sample = texts.head(_TRIED)
    year = next(
        (mark for mark, like in (("%Y", _LONG_YEAR), ("%y", _SHORT_YEAR)) if texts.str.contains(like).all()), HOURS
    )
    fitting = (one for one in _formats(str(texts[0])) if year in one and _fits(sample, one))
    found = next((one for one in fitting if _fits(texts, one)), None)
    return None if found == _MONTHS and _are_seasons(texts) else found


def seconds_of(column: polars.Series, written: str | None) -> polars.Series:
    """Seconds since 1970 (times: since midnight) as float64, of dates and times or of text in a format.

    Null for what is missing or in another format. Without a time zone it is that of UTC.
    """
    import polars

    if column.dtype == polars.String:
        if written is None:
            return polars.Series(column.name, [None] * len(column), dtype=polars.Float64)
        column = _parsed(column, written)
    if column.dtype == polars.Time:
        return column.cast(polars.Int64) / 1e9
    if column.dtype == polars.Date:
        return column.cast(polars.Int32).cast(polars.Float64) * 86_400
    microseconds = column.dt.timestamp("us")
    return microseconds.cast(polars.Float64) / 1e6


def _formats(first: str) -> list[str]:
    has_time = ":" in first
    if not has_time:
        return list(_DATES)
    dated = [f"{date}{time}{zone}" for date in _DATES for time in _TIMES for zone in ("", "Z", *_ZONES)]
    return [*(HOURS + one for one in _HOURS), *dated]


def _are_seasons(texts: polars.Series) -> bool:
    """Whether each is a year and the next one, as `2010-11`, rather than a year and a month."""
    import polars

    year, after = (texts.str.extract(_SEASON, group).cast(polars.Int64) for group in (1, 2))
    return bool(((year + 1) % 100 == after).all())


def _fits(texts: polars.Series, written: str) -> bool:
    return _parsed(texts, written).null_count() == 0


def _parsed(texts: polars.Series, written: str) -> polars.Series:
    import polars

    if written.startswith(HOURS):
        return texts.str.to_time(written.removeprefix(HOURS), strict=False)
    if ":" not in written:
        return texts.str.to_date(written, strict=False)
    has_zone = written.endswith("z")
    zone = "UTC" if has_zone else None
    found = texts.str.to_datetime(written, strict=False, time_unit="us", time_zone=zone)
    return found.dt.replace_time_zone(None) if has_zone else found.cast(polars.Datetime("us"))
