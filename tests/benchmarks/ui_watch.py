"""What it costs to watch twelve models that change twice a second each, against peers: prints a table.

python tests/benchmarks/ui_watch.py [--rounds N] [--seconds S] [--peer COMMAND]

A process writes a real run.db and holds the run's lock. In every round all sides start at once on it, each on a
pseudo-terminal of its own; each takes a few percent of a core, so they do not disturb each other, and what does
disturbs all. Then the run stands still (the lock is held, the signs of life go on) and, once the curve of the machine
has moved on by its 48 s, the bytes are counted again.
CPU is user and system time of the process, in percent of one core; MB (10^6 bytes) are resident.

`--peer glances` measures a program from the PATH (or by its path) beside them; it shows what it shows.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ui_support import BARE, FORGE_TUI, Feeder, Terminal, Use, folder, machine

MODELS, CHANGES = 12, 24.0
SIZES = ((80, 24), (120, 40))
_SETTLE_SECONDS = 6.0
_CURVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Side:
    """A program on a terminal of one size."""

    name: str
    command: Sequence[str]
    size: tuple[int, int]


def measure(sides: Sequence[Side], home: Path, seconds: float, folder_number: int) -> dict[Side, tuple[Use, Use]]:
    """Start all sides on a fresh run; what each used while it changed, and while it stood still."""
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(Feeder(home / f"run-{folder_number}", MODELS, CHANGES))
        terminals = []
        for side in sides:
            command = [word.replace("RUN", str(run.directory)) for word in side.command]
            terminals.append(stack.enter_context(Terminal(command, *side.size, home)))
        time.sleep(_SETTLE_SECONDS)
        for side, terminal in zip(sides, terminals, strict=True):
            if "RUN" in side.command and not re.search(r"\d+/\d+", terminal.text()):
                raise SystemExit(f"{side.name} shows no models:\n{terminal.text()}")
        busy = watch_all(terminals, seconds)
        run.tell("hold")
        time.sleep(_CURVE_SECONDS)
        still = watch_all(terminals, seconds / 2)
        return dict(zip(sides, zip(busy, still, strict=True), strict=True))


def watch_all(terminals: Sequence[Terminal], seconds: float) -> list[Use]:
    """What each uses over the same time."""
    looks = [terminal.look() for terminal in terminals]
    time.sleep(seconds)
    return [terminal.since(look) for terminal, look in zip(terminals, looks, strict=True)]


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--peer", action="append", default=[], help="a command to measure too")
    options = parser.parse_args()
    told = machine()
    sides = [
        Side(name, command, size)
        for size in SIZES
        for name, command in (
            ("forge-tui attach", (*FORGE_TUI, "attach", "RUN")),
            ("Textual DataTable", (*BARE, "table", "RUN")),
            *((Path(shlex.split(peer)[0]).name, tuple(shlex.split(peer))) for peer in options.peer),
        )
    ]
    found: dict[Side, list[tuple[Use, Use]]] = {side: [] for side in sides}
    with folder() as home:
        for number in range(options.rounds):
            for side, uses in measure(sides, home, options.seconds, number).items():
                found[side].append(uses)
    print(f"{told}; {MODELS} models, {CHANGES:g} epochs/s, median of {options.rounds} rounds of {options.seconds:g} s")
    print(f"{'':18}{'size':>8}{'CPU, %':>18}{'ratio':>7}{'MB':>7}{'KB/s':>8}{'still: CPU, %':>15}{'B/s':>7}")
    for size in SIZES:
        ours = next(uses for side, uses in found.items() if side.size == size)
        base = statistics.median(busy.cpu_percent for busy, _ in ours)
        for side in (side for side in sides if side.size == size):
            busy, still = zip(*found[side], strict=True)
            cpu = [use.cpu_percent for use in busy]
            middle = statistics.median(cpu)
            print(
                f"{side.name:18}{f'{size[0]}x{size[1]}':>8}{f'{middle:.2f} ({min(cpu):.2f}–{max(cpu):.2f})':>18}"
                f"{middle / base:7.2f}{statistics.median(use.rss_mb for use in busy):7.1f}"
                f"{statistics.median(use.bytes_per_second for use in busy) / 1e3:8.2f}"
                f"{statistics.median(use.cpu_percent for use in still):15.2f}"
                f"{statistics.median(use.bytes_per_second for use in still):7.0f}"
            )


if __name__ == "__main__":
    main()
