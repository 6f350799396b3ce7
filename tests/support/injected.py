"""Where an error is injected, what came of it, and why some of them need not be reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from traced import CALLS, Place, Role


class Stage(StrEnum):
    """What is done meanwhile."""

    START = "start"
    OVERWRITE = "start --overwrite"
    RECOVER = "start after a killed --overwrite"
    FINISH = "start after a killed rm"
    RESUME = "resume after a kill"
    STOP = "stop"
    REMOVE = "rm"

    @property
    def roles(self) -> tuple[Role, ...]:
        """Whose calls fail meanwhile: of all that write, those that no other stage has already."""
        match self:
            case Stage.START | Stage.RESUME:
                return (Role.FRONT, Role.RUNNER, Role.WORKER)
            case Stage.STOP:
                return (Role.FRONT, Role.RUNNER, Role.WORKER)
            case Stage.REMOVE:
                return (Role.FRONT,)
            case _:
                return (Role.RUNNER,)


AGAIN = (Stage.OVERWRITE, Stage.RECOVER, Stage.FINISH)


@dataclass(frozen=True, slots=True)
class Walk:
    """All calls of a name for one file, in one role and stage. `numbers`: those that are known to be there.

    `idle`: those that have nothing to do, and end by an error in an undisturbed run, too.
    """

    stage: Stage
    role: Role
    name: str
    place: Place | None
    file: str
    numbers: tuple[int, ...]
    idle: frozenset[int] = frozenset()

    @property
    def kind(self) -> str:
        """The kind of call."""
        return next(kind for kind, names in CALLS.items() if self.name in names)

    def __str__(self) -> str:
        return f"{self.stage}, {self.role}, {self.name} {self.file}"


@dataclass(slots=True)
class Outcome:
    """What came of a try. `hit`: whether the error was injected; if not, the try does not count.

    `told`: where the error was reported, on the `screen` or in the run's `records`, or nowhere, and `words`: the line
    that reports it. `became`: the run's state then, or `refused`. `excuse`: why it need not be reported.
    """

    walk: Walk
    error: str
    number: int
    hit: bool = False
    status: int = 0
    told: str = "nowhere"
    words: str = ""
    excuse: str | None = None
    became: str = ""
    problems: list[str] = field(default_factory=list)


def excuse(walk: Walk, number: int) -> str | None:
    """Why nobody need hear of an error there: nothing can be lost by it."""
    if number in walk.idle:
        return "it has nothing to do: what it makes is there, or what it removes is not"
    if walk.name == "fdatasync" and "." not in walk.file:
        return "SQLite does not look at what syncing a directory comes to"
    if walk.kind == "unlink" and walk.file.endswith(("run.db-wal", "run.db-shm")):
        return "SQLite leaves what is empty by then, and takes it up again"
    if walk.kind == "mkdir" and walk.file in ("state", "state/forge-tui"):
        return "it is made again a moment later, for the list of runs"
    if walk.kind == "unlink" and ".lock." in walk.file:
        return "a second name of the lock, which the next start removes"
    if walk.file.startswith("state/forge-tui/claims/"):
        return "it is read by other runs only, and counts for nothing when this one has ended"
    if walk.stage is Stage.RESUME and (
        walk.file == "run/run.db-shm" or (walk.name == "openat" and walk.file == "run/run.db-wal")
    ):
        return "it reads the earlier records from a copy then"
    if walk.role is Role.FRONT and walk.name == "openat" and walk.stage is not Stage.REMOVE:
        return "who looks at a run looks again a moment later"
    return None
