"""What came of injected errors, told line by line and as a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from injected import Outcome
from storm_tally import aligned

_STATUSES = (0, 1, 3, 4)
_PLACES = ("screen", "records", "need not", "nowhere")
_ENDS = ("completed", "stopped", "failed", "died", "refused", "removed")
_HEAD = (
    "stage, process and call", "files", "error", "INJECTED", "walked out", *(f"exit {status}" for status in _STATUSES),
    *_PLACES, *_ENDS, "wrong",
)  # fmt: skip


def described(outcome: Outcome) -> str:
    """A line for each try, then what the user was told, and a line for each thing that is wrong."""
    line = f"{outcome.walk} {outcome.number} {outcome.error}: "
    if outcome.hit:
        line += f"exit {outcome.status}, told: {outcome.told}, {outcome.became}"
        line += f" ({outcome.excuse})" if outcome.excuse else ""
    else:
        line += "INJECTED does not show"
    said = [f"  said: {outcome.words}"] if outcome.words else []
    return "\n".join([line, *said, *(f"  WRONG: {problem}" for problem in outcome.problems)])


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each stage, role, kind of call and error.

    `INJECTED`: at how many calls; `walked out`: of how many files and calls the walk came to where no error was
    injected any more. Then the exit statuses, where the error was reported (`need not`: nothing can be lost by it),
    what became of the run at first, and tries after which something was wrong (also: continued later, its bytes were
    others).
    """
    rows: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[f"{outcome.walk.stage}, {outcome.walk.role}, {outcome.walk.kind}", outcome.error].append(outcome)
    lines = [_HEAD]
    for (name, error), found in rows.items():
        lines.append((name, *_row(error, found)))
    lines.append(("all", *_row("", outcomes)))
    return aligned(lines)


def _told(outcome: Outcome) -> str:
    return "need not" if outcome.excuse is not None else outcome.told


def _row(error: str, found: Sequence[Outcome]) -> tuple[str, ...]:
    hit = [outcome for outcome in found if outcome.hit]
    statuses, places = Counter(one.status for one in hit), Counter(_told(one) for one in hit)
    ends = Counter(one.became for one in hit)
    numbers = (
        len({str(one.walk) for one in found}),
        error,
        len(hit),
        len({str(one.walk) for one in found if not one.hit and one.walk.place is not None}),
        *(statuses[status] for status in _STATUSES),
        *(places[place] for place in _PLACES),
        *(ends[end] for end in _ENDS),
        sum(bool(one.problems) for one in found),
    )
    return tuple(map(str, numbers))
