"""The account of a storm of kills: what was tried, and what was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from storm_run import Role


class Moment(StrEnum):
    """When a kill falls."""

    ANY = "at any instant"
    FIRST = "first 300 ms"
    START = "start, before run.db"
    RESUME = "resume"
    CHECKPOINT = "checkpoint"
    FINAL = "final model"
    REMOVE = "rm"


@dataclass(slots=True)
class Tally:
    """What was tried, and everything that went wrong."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """How many processes were killed."""
        return self.kills.total()

    def add(self, other: Tally) -> None:
        """Take in what another lane did."""
        self.kills += other.kills
        self.counts += other.counts
        self.problems += other.problems

    def table(self) -> str:
        """Roles down, moments across, then the other counts and the problems."""
        rows = [("killed", *Moment, "total")]
        for role in Role:
            counts = [self.kills[role, moment] for moment in Moment]
            rows.append((role, *map(str, counts), str(sum(counts))))
        lines = [*aligned(rows), f"{self.killed} processes killed"]
        lines += [f"{what}: {count}" for what, count in sorted(self.counts.items())]
        lines.append(f"lost: {len(self.problems) or 'nothing'}")
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])

    def line(self, name: str) -> tuple[str, ...]:
        """A row of `HEAD`: one scenario."""
        at = Counter[str]()
        for (_role, moment), count in self.kills.items():
            at[moment] += count
        moments = (at[moment] for moment in Moment)
        counted = (self.counts[what] for what in (LOOKS, RESUMES, ENDS))
        other_bytes = self._told_of("byte-identical", "not as undisturbed", "has another")
        left = self._told_of("left behind", "the end of", "leaves")
        numbers = (self.killed, *counted, other_bytes, left)
        return (name, *map(str, moments), *map(str, numbers), str(len(self.problems) or "nothing"))

    def _told_of(self, *words: str) -> int:
        return sum(any(word in problem for word in words) for problem in self.problems)


LOOKS, RESUMES, ENDS = "looks", "resumes", "runs that came to their end"
HEAD = ("scenario", *Moment, "kills", "looks", "resumes", "ends", "other bytes", "left behind", "lost")


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """The rows of a table: the first column to the left, the others to the right."""
    kept = [tuple(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*kept, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in kept
    ]
