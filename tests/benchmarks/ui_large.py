"""What a run of 10,000 models costs the UI while 1,000 of them change every second: prints a table.

python tests/benchmarks/ui_large.py [--rounds N] [--seconds S] [--keys N]

`forge-tui attach` and, beside it in turn, an app with Textual's `DataTable` on the same run.db, each on a
pseudo-terminal of 120×40. Attach: from the start of the process until rows stand on the screen. CPU: user and system
time of the process while nobody types, in percent of one core. Key to paint: from the bytes of a Down key until the
screen shows the next model selected.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ui_support import BARE, FORGE_TUI, Feeder, Terminal, Use, folder, machine

DOWN = "\x1b[B"
_SETTLE_SECONDS = 4.0
_SELECTED = re.compile(r"> cognate\S*_(\d+)")


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of one side: seconds to attach, use while nobody types, seconds from each key to its paint."""

    attach: float
    use: Use
    delays: tuple[float, ...]


def measure(command: Sequence[str], home: Path, seconds: float, keys: int) -> Figures:
    """Attach, watch, then type."""
    with Terminal(command, 120, 40, home) as terminal:
        terminal.wait_for_screen(_selected, "a selected model")
        time.sleep(_SETTLE_SECONDS)
        look = terminal.look()
        time.sleep(seconds)
        use = terminal.since(look)
        chance = random.Random(3)
        sent = []
        for _ in range(keys):
            sent.append(terminal.send(DOWN))
            time.sleep(0.1 + 0.1 * chance.random())
        time.sleep(2.0)
        shown = [(piece.seconds, int(found[1])) for piece, text in terminal.screens() if (found := _selected(text))]
        attach = shown[0][0]
        first = shown[0][1]
        delays = []
        for number, when in enumerate(sent, 1):
            painted = next((at for at, selected in shown if selected >= first + number), None)
            if painted is None:
                raise SystemExit(f"key {number} was never answered; the screen shows\n{terminal.text()}")
            delays.append(painted - when)
        return Figures(attach, use, tuple(delays))


def _selected(text: str) -> re.Match[str] | None:
    return _SELECTED.search(text)


def main() -> None:
    """Measure in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--changes", type=float, default=1_000.0, help="changed models a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--keys", type=int, default=60)
    options = parser.parse_args()
    told = machine()
    found: dict[str, list[Figures]] = {}
    with folder() as home:
        for number in range(options.rounds):
            with Feeder(home / f"run-{number}", options.models, options.changes) as run:
                for name, command in (
                    ("forge-tui attach", (*FORGE_TUI, "attach", str(run.directory))),
                    ("Textual DataTable", (*BARE, "table", str(run.directory))),
                ):
                    figures = measure(command, home, options.seconds, options.keys)
                    found.setdefault(name, []).append(figures)
    print(
        f"{told}; {options.models} models, {options.changes:g} of them changing a second, 120x40, "
        f"median of {options.rounds}"
    )
    names = ("attach, s", "key p50, ms", "key p95, ms", "CPU, %", "MB", "KB/s")
    print(f"{'':18}" + "".join(f"{name:>13}" for name in names))
    rows = {
        name: [statistics.median(column) for column in zip(*map(_row, each), strict=True)]
        for name, each in found.items()
    }
    for name, row in rows.items():
        print(f"{name:18}" + "".join(f"{value:13.2f}" for value in row))
    ours, theirs = rows.values()
    print(f"{'ours / theirs':18}" + "".join(f"{a / b:13.2f}" for a, b in zip(ours, theirs, strict=True)))


def _row(figures: Figures) -> tuple[float, ...]:
    ordered = sorted(figures.delays)
    return (
        figures.attach,
        1e3 * statistics.median(ordered),
        1e3 * ordered[math.ceil(0.95 * len(ordered)) - 1],
        figures.use.cpu_percent,
        figures.use.rss_mb,
        figures.use.bytes_per_second / 1e3,
    )


if __name__ == "__main__":
    main()
