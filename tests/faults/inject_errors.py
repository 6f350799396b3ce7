"""I/O errors at each fsync, rename and write of a run, one at a time: prints what was tried and what came of it.

python tests/faults/inject_errors.py [--stage NAME …] [--role NAME …] [--call NAME …] [--error EIO ENOSPC] [--most N]
                                     [--file PATTERN] [--keep DIRECTORY]

In every try strace injects an error at one place: the n-th call of a name for one file, n = 1, 2, 3, … until strace
shows no INJECTED any more; in the command, in the runner or in the worker, over a whole start, `--overwrite`, what
tidies up after a kill, `resume`, `stop` and `rm`. The error must be reported in words, with the right exit status, and
never as a traceback; afterwards the run must be readable, and continued to the bytes of an undisturbed one. The exit
status is 0 if all of that held. Linux, with strace.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from injected import Outcome, Stage
from injected_table import described, table
from injecting import Injector
from traced import CALLS, Role, missing


def main() -> int:
    """Carry out the tries and print the account."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", nargs="+", type=Stage, choices=list(Stage), default=list(Stage), metavar="NAME")
    parser.add_argument("--role", nargs="+", type=Role, choices=list(Role), default=list(Role), metavar="NAME")
    parser.add_argument("--call", nargs="+", choices=list(CALLS), default=list(CALLS), metavar="NAME")
    parser.add_argument("--error", nargs="+", choices=("EIO", "ENOSPC"), default=["EIO"], metavar="NAME")
    parser.add_argument("--most", type=int, metavar="N", help="of each call and file no more than N places")
    parser.add_argument("--file", type=re.compile, default="", help="only files whose path has this pattern")
    parser.add_argument("--keep", type=Path, help="leave what went wrong in this directory")
    given = parser.parse_args()
    if (reason := missing()) is not None:
        print(reason, file=sys.stderr)
        return 2
    begun, outcomes = time.monotonic(), list[Outcome]()
    with tempfile.TemporaryDirectory(prefix="inject-errors-") as temporary:
        base = given.keep.absolute() if given.keep else Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        injector = Injector(base)
        for stage in given.stage:
            for role in [role for role in stage.roles if role in given.role]:
                for walk in injector.walks(stage, role):
                    if walk.kind not in given.call or not re.search(given.file, walk.file):
                        continue
                    for error in given.error:
                        for outcome in injector.follow(walk, error, given.most):
                            outcomes.append(outcome)
                            print(described(outcome), flush=True)
    print("", *table(outcomes), sep="\n")
    print(f"{time.monotonic() - begun:.0f} s")
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
