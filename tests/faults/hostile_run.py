"""A run directory of somebody else's, hostile in each file in turn: what every command does with it, as a table.

    python tests/faults/hostile_run.py
    python tests/faults/hostile_run.py --everything --sample 1000 --seed 7
    python tests/faults/hostile_run.py --group NAME --group "run.db, models" --commands resume rm

Exits with 1 if anything outside the directory was changed, anything of it was run, a command hung, ended with a
traceback, printed control characters, or exited with another status than 0, 1, 2 or 4.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

from hostile_place import COMMANDS, GROUPS, Hostile, wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", action="append", choices=GROUPS, help="only cases of this kind")
    parser.add_argument("--case", action="append", help="only cases whose name contains this")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, help="only these")
    parser.add_argument("--everything", action="store_true", help="also commands that do not read the changed file")
    parser.add_argument("--sample", type=int, metavar="N", help="only N pairs of case and command, drawn at random")
    parser.add_argument("--seed", type=int, help="of the drawing; without one it is drawn, and printed")
    parser.add_argument("--verbose", action="store_true", help="tell every case on stderr")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hostile-") as base:
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CONFIG_HOME"] = f"{base}/home"
        hostile = Hostile(Path(base))
        try:
            _look(hostile, _asked_for(given), given.verbose)
        except KeyboardInterrupt:
            print("interrupted; so far:")
        finally:
            os.chdir("/")
        print(hostile.account.table())
    return 1 if hostile.account.problems else 0


def _asked_for(given: argparse.Namespace) -> dict[tuple[str, str], list[str]]:
    """The commands for each group and case, in their order."""
    found: list[tuple[tuple[str, str], str]] = []
    for group in given.group or GROUPS:
        commands = wanted(group, everything=given.everything or bool(given.commands))
        for case in GROUPS[group]:
            if not given.case or any(part in case for part in given.case):
                found += [((group, case), name) for name in commands if not given.commands or name in given.commands]
    if given.sample is not None:
        seed = given.seed if given.seed is not None else secrets.randbelow(1 << 32)
        print(f"{min(given.sample, len(found))} of {len(found)} pairs of case and command, --seed {seed}", flush=True)
        drawn = random.Random(seed).sample(range(len(found)), min(given.sample, len(found)))
        found = [found[number] for number in sorted(drawn)]
    tries: dict[tuple[str, str], list[str]] = {}
    for case_of_group, name in found:
        tries.setdefault(case_of_group, []).append(name)
    return tries


def _look(hostile: Hostile, tries: dict[tuple[str, str], list[str]], is_verbose: bool) -> None:
    for (group, case), commands in tries.items():
        known = len(hostile.account.problems)
        hostile.look(group, case, commands)
        if is_verbose:
            found = hostile.account.problems[known:]
            print(f"{group}: {case}", *(f"   !! {one}" for one in found), sep="\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
