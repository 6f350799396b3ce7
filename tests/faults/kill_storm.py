"""`kill -9` of workers, fork servers, runners and viewers at random instants: prints what was tried and what was lost.

python tests/faults/kill_storm.py [--kills 1000] [--seed 7] [--lanes 2] [--fuse 1] [--keep DIRECTORY]

After every kill the run must be readable, two processes never train one model, and each run, resumed to its end, must
give the bytes and the history of one that was left alone. The exit status is 0 if nothing was lost. Linux.
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

from running import SMALL
from storms import Storm, Tally, undisturbed

ARGUMENTS = (
    *SMALL, "--models", "8", "--epochs", "150", "--checkpoint-interval", "5", "--mode", "parallel", "--workers", "2",
    "--max-retries", "1000", "--set", "data.samples=320",
)  # fmt: skip


def main() -> int:
    """Run the storm in several lanes at once and print the account."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="processes to kill")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--lanes", type=int, default=2, help="runs at one time")
    parser.add_argument("--fuse", default="1", help="models that a worker trains together")
    parser.add_argument("--keep", type=Path, help="leave the runs in this directory")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-storm-") as temporary:
        base = given.keep.absolute() if given.keep else Path(temporary)
        os.environ["XDG_STATE_HOME"] = str(base / "state")
        os.environ["XDG_CONFIG_HOME"] = str(base / "config")
        begun = time.monotonic()
        print(f"seed {given.seed}: {given.kills} kills in {given.lanes} lanes", flush=True)
        arguments = (*ARGUMENTS, "--fuse", given.fuse)
        reference = undisturbed(base / "undisturbed", arguments)
        total = Tally()
        with ProcessPoolExecutor(given.lanes, mp_context=get_context("spawn")) as pool:
            shares = [given.kills // given.lanes + (lane < given.kills % given.lanes) for lane in range(given.lanes)]
            begins = [
                pool.submit(_lane, base / f"lane-{lane}", share, f"{given.seed}/{lane}", reference, arguments)
                for lane, share in enumerate(shares)
            ]
            for future in begins:
                total.add(future.result())
    print(total.table())
    print(f"{time.monotonic() - begun:.0f} s")
    return 1 if total.problems else 0


def _lane(base: Path, kills: int, seed: str, reference: Path, arguments: tuple[str, ...]) -> Tally:
    base.mkdir(parents=True, exist_ok=True)
    return Storm(base, arguments, reference, random.Random(seed)).rage(kills)


if __name__ == "__main__":
    sys.exit(main())
