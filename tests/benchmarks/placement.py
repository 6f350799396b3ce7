"""Prints who went where and why: 8 GPUs, 40 models of four sizes, another user's job on one GPU, and one that is lost.

No GPU is needed: the scheduler is the real one, GPUs and workers are simulated (`tests/support/placing.py`).
Run it with `python tests/benchmarks/placement.py`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from placing import OTHERS, SIZES, TOTALS, Day


def main() -> int:
    """Play it and print the tables; returns the exit status."""
    with tempfile.TemporaryDirectory() as place:
        day = Day(Path(place))
        state = day.play()
    print(f"run {state}; {len(day.rows)} workers for {10 * len(SIZES)} models\n")
    print(f"{'GPU':>3} {'GiB':>4} {'others':>6} {'most used':>9}  models")
    for index, total in enumerate(TOTALS):
        here = [row.model.rpartition("_")[2] for row in day.rows if row.gpu == index]
        print(
            f"{index:>3} {total:>4g} {OTHERS.get(index, (0.0, 0.0))[0]:>6g} {day.most[index]:>9.1f}  {' '.join(here)}"
        )
    print(f"\n{'model':<12} {'parameters':>11} {'GPU':>3} {'from s':>6} {'to s':>5}  {'end':<17} why there")
    for row in day.rows:
        ended = "" if row.ended is None else f"{row.ended:g}"
        print(f"{row.model:<12} {row.size:>11,} {row.gpu:>3} {row.began:>6g} {ended:>5}  {row.end:<17} {row.reason}")
    print("\nwhile none could start:")
    for reason in day.holds:
        print(f"- {reason}")
    print("\nwarnings:")
    for message in day.lost:
        print(f"- {message}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
