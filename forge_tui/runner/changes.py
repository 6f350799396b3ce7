"""Changes of data and code since the start of a run, and whether a resume accepts them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forge_tui.errors import ChangedError
from forge_tui.protocol.run_data import Fingerprint, RunData, difference, recorded_data
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs.moved import relocated_data
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.settings.sweep import combination_at

_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changes to record when a run is opened again.

    `data`: its data now. `accepted`: accepted changes, as kind and words of a warning; with any, models that train
    from then on are not exact. `notices`: warnings without that effect.
    """

    data: RunData | None
    accepted: tuple[tuple[str, str], ...] = ()
    notices: tuple[tuple[str, str], ...] = ()


def compare_data(directory: Path, info: RunInfo, settings: Settings, now: RunData | None, *, accept: bool) -> Changes:
    """Compare the data with that of the start of the run in `directory`.

    Raises `ChangedError` for changed data unless accepted, and `RunDirectoryError` for a damaged record.
    """
    if now is None:
        return Changes(data=None)  # a training function's data is its own affair
    before = recorded_data(info)
    before = None if before is None else relocated_data(before, info.moved)
    if before is None:
        by = f"forge-tui {info.version}" if info.version else "an early version"
        what = f"{by} did not record which data the run was started with: from here on it is the data of this resume"
        return Changes(data=now, notices=(("data", what),))
    found = list(dict.fromkeys(_differences(settings, before, now)))
    if not found:
        return Changes(data=now)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    what = f"{'; '.join(found[:_NAMED])}{more}"
    if not accept:
        raise ChangedError(
            f"the data is not what run {info.run} was started with: {what}. Restore it, or continue with the changed "
            f"data: `forge-tui resume {named(directory)} --accept-changes` (its models are then no longer exact)"
        )
    words = f"the run continues with other data ({what}), as --accept-changes asks: from here on no model is exact"
    return Changes(data=now, accepted=(("data", words),))


def _differences(settings: Settings, before: RunData, now: RunData) -> Iterator[str]:
    """Descriptions of the differences, per part of a sweep with different data."""
    first = combination_at(settings.sweep, 0)  # of a search all have the same data
    parts = [first, *(part for part, _ in (*before.others, *now.others))]
    for part in parts:
        was, is_now = before.of_model(part), now.of_model(part)
        if not was.is_of_same_data(is_now):
            named = part.get("training.dataset", settings.training.dataset)
            yield f"{_source(is_now, named)}: {difference(was, is_now)}"


def _source(fingerprint: Fingerprint, named: str) -> str:
    return named if fingerprint.file is None else fingerprint.file.path
