"""How soon the UI shows its first text, and is filled and answers a key, against a bare Textual app: prints a table.

python tests/benchmarks/ui_start.py [--rounds N]

Each start is a process of its own on a pseudo-terminal of 80×24, in turn: the bare app, `forge-tui` and
`forge-tui attach RUN`. First text: title, host and frames (the line of keys) stand on the screen. Then a key is typed;
filled: rows, curve and machine are there and the key's answer is shown. CPU is user and system time of the process
until then. The first round warms the caches and does not count.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ui_support import BARE, FORGE_TUI, Feeder, Terminal, folder, machine

KEY, ANSWER = "m", "mouse: "


@dataclass(frozen=True, slots=True)
class Side:
    """A program: its command, and what must be on the screen when it is filled."""

    name: str
    command: Sequence[str]
    filled: str


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds from its beginning, and seconds of CPU."""

    first_text: float
    filled: float
    cpu: float


def start(side: Side, home: Path) -> Start:
    """Start once, type the key as soon as the first text is there, and measure."""
    with Terminal(side.command, 80, 24, home) as terminal:
        terminal.wait_for("Help")
        terminal.send(KEY)
        terminal.wait_for(ANSWER)
        terminal.wait_for_screen(lambda text: _is_filled(side, text), f"{side.name} to be filled")
        shown = terminal.first(lambda text: "Help" in text and "@" in text)
        filled = terminal.first(lambda text: ANSWER in text and _is_filled(side, text))
        return Start(shown.seconds, filled.seconds, filled.cpu)


def _is_filled(side: Side, text: str) -> bool:
    return re.search(side.filled, text, re.DOTALL) is not None


def main() -> None:
    """Measure in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    told = machine()
    with folder() as home, Feeder(home / "bench-run", 12, 24.0) as run:
        sides = (
            Side("bare Textual app", BARE, "bare app"),
            Side("forge-tui", FORGE_TUI, r"CPU \d+%.*Epochs"),
            Side("forge-tui attach", (*FORGE_TUI, "attach", str(run.directory)), r"CPU \d+%.*anner_8 .*┤"),
        )
        found: dict[str, list[Start]] = {side.name: [] for side in sides}
        for number in range(options.rounds + 1):
            for side in sides:
                measured = start(side, home)
                if number:
                    found[side.name].append(measured)
    print(f"{told}; 80x24, median of {options.rounds} starts each, in turn (range)")
    print(f"{'':18}{'first text, s':>22}{'ratio':>7}{'filled, key, s':>22}{'ratio':>7}{'CPU, s':>9}{'ratio':>7}")
    bare = found[sides[0].name]
    for side in sides:
        line = f"{side.name:18}"
        for name, width in (("first_text", 22), ("filled", 22), ("cpu", 9)):
            values, base = ([getattr(one, name) for one in each] for each in (found[side.name], bare))
            middle = statistics.median(values)
            spread = f" ({min(values):.2f}–{max(values):.2f})" if width > 9 else ""
            line += f"{f'{middle:.3f}{spread}':>{width}}{middle / statistics.median(base):7.2f}"
        print(line)


if __name__ == "__main__":
    main()
