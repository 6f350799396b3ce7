"""I/O errors at each fsync, rename and write of a run, one at a time: prints what was tried and what came of it.

python tests/faults/inject_errors.py [--stage NAME …] [--role NAME …] [--most N] [--seed 7] [--keep DIRECTORY]

In every try strace injects EIO at one place (the n-th call in a thread of the front end, of the runner, or of the
worker), over a whole run, `resume`, `stop` and `rm`. The error must be reported in words, with the right exit status,
and never as a traceback; afterwards the run must be readable, and continued to the bytes of an undisturbed one. A try
counts if the trace shows that the error was injected at a file of the run. The exit status is 0 if all of that held.
Linux, with strace.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from injecting import CALLS, Injector, Outcome, Role, Stage, Try, missing
from storm_tally import aligned

# What temporary names have at random.
_CHANCE = re.compile(r"\.[0-9a-z_]{8}(?=$|\.tmp$)|-[0-9a-f]{16}(?=\.)")
_HEAD = (
    "stage, process and call",
    "tries",
    "hit",
    "exit 0",
    "exit 1",
    "exit 4",
    "screen",
    "records",
    "nowhere",
    "wrong",
)


def main() -> int:
    """Carry out the tries and print the account."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", nargs="+", type=Stage, choices=list(Stage), default=list(Stage), metavar="NAME")
    parser.add_argument("--role", nargs="+", type=Role, choices=list(Role), default=list(Role), metavar="NAME")
    parser.add_argument("--most", type=int, metavar="N", help="of each stage, role and call take N places at random")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="leave what went wrong in this directory")
    given = parser.parse_args()
    if (reason := missing()) is not None:
        print(reason, file=sys.stderr)
        return 2
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="inject-errors-") as temporary:
        base = given.keep.absolute() if given.keep else Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        injector = Injector(base)
        outcomes = []
        for stage in given.stage:
            for role in given.role:
                for what in chosen(injector.tries(stage, role), given.most, given.seed):
                    outcomes.append(injector.attempt(what))
                    print(described(outcomes[-1]), flush=True)
    print("", *table(outcomes), sep="\n")
    print(f"{time.monotonic() - begun:.0f} s")
    return 1 if any(outcome.problems for outcome in outcomes) else 0


def chosen(tries: list[Try], most: int | None, seed: int) -> list[Try]:
    """At most so many of each kind of call."""
    if most is None:
        return tries
    kinds: dict[str, list[Try]] = defaultdict(list)
    for what in tries:
        kinds[what.call].append(what)
    draw = random.Random(seed)
    return [what for kind in kinds.values() for what in draw.sample(kind, min(most, len(kind)))]


def described(outcome: Outcome) -> str:
    """A line a try, and one for each thing that is wrong."""
    hit = ", ".join(sorted({_CHANCE.sub("", Path(path).name) for path in outcome.hit})) or "not hit"
    line = f"{outcome.what}: {hit}; exit {outcome.status}, told: {outcome.told}"
    return "\n".join([line, *(f"  WRONG: {problem}" for problem in outcome.problems)])


def table(outcomes: list[Outcome]) -> list[str]:
    """A line for each stage, role and call."""
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        kind = next(kind for kind, names in CALLS.items() if outcome.what.call in names)
        rows[f"{outcome.what.stage}, {outcome.what.role}, {kind}"].append(outcome)
    lines = [_HEAD]
    for name, found in rows.items():
        hit = [outcome for outcome in found if outcome.hit]
        statuses = [sum(outcome.status == status for outcome in hit) for status in (0, 1, 4)]
        told = [sum(outcome.told == where for outcome in hit) for where in ("screen", "records", "nowhere")]
        wrong = sum(bool(outcome.problems) for outcome in found)
        lines.append((name, *map(str, (len(found), len(hit), *statuses, *told, wrong))))
    return aligned(lines)


if __name__ == "__main__":
    sys.exit(main())
