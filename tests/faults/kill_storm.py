"""`kill -9` of workers, fork servers, runners and viewers at random instants: prints what was tried and what was lost.

python tests/faults/kill_storm.py [--kills 1000] [--scenario NAME …] [--seed 7] [--lanes 2] [--keep DIRECTORY]

The kills are divided among the scenarios (`--list` names them). They fall at any instant, in the first 300 ms of a
start, before run.db is there, during `resume`, while a checkpoint or a final model is written, and during `rm`. After
every kill the run must be readable, two processes never train one model, and each run, resumed to its end, must give
the bytes and the history of one that was left alone. The exit status is 0 if nothing was lost. Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from storm_scenarios import SCENARIOS
from storm_tally import HEAD, Tally, aligned
from storms import Storm


def main() -> int:
    """Run the storms in several lanes at once and print the account."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="processes to kill, all scenarios together")
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, metavar="NAME", default=list(SCENARIOS))
    parser.add_argument("--list", action="store_true", help="name the scenarios, and kill nothing")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--lanes", type=int, default=2, help="runs at one time")
    parser.add_argument("--keep", type=Path, help="leave the runs in this directory")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{name}: {scenario.about}" for name, scenario in SCENARIOS.items()))
        return 0
    with tempfile.TemporaryDirectory(prefix="kill-storm-") as temporary:
        base = given.keep.absolute() if given.keep else Path(temporary)
        os.environ["XDG_STATE_HOME"] = str(base / "state")
        os.environ["XDG_CONFIG_HOME"] = str(base / "config")
        begun = time.monotonic()
        print(f"seed {given.seed}: {given.kills} kills in {given.lanes} lanes", flush=True)
        tallies = _rage(base, given.scenario, given.kills, given.seed, given.lanes)
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    print(total.table(), "", *aligned([HEAD, *(tally.line(name) for name, tally in tallies.items())]), sep="\n")
    print(f"{time.monotonic() - begun:.0f} s")
    return 1 if total.problems else 0


def _rage(base: Path, names: list[str], kills: int, seed: int, lanes: int) -> dict[str, Tally]:
    """What each scenario came to; so many of them at one time, one alone in several lanes."""
    parts = lanes if len(names) == 1 else 1
    shares = [kills // (len(names) * parts) + (n < kills % (len(names) * parts)) for n in range(len(names) * parts)]
    tallies = {name: Tally() for name in names}
    with ProcessPoolExecutor(lanes, mp_context=get_context("spawn")) as pool:
        begun = [
            (name, pool.submit(_lane, base / f"{name}-{part}", name, share, f"{seed}/{part}"))
            for (name, part), share in zip(
                [(name, part) for name in names for part in range(parts)], shares, strict=True
            )
        ]
        for name, future in begun:
            tallies[name].add(future.result())
    return tallies


def _lane(base: Path, name: str, kills: int, seed: str) -> Tally:
    base.mkdir(parents=True, exist_ok=True)
    return Storm(base, SCENARIOS[name], random.Random(f"{name}/{seed}")).rage(kills)


if __name__ == "__main__":
    sys.exit(main())
