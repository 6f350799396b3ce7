"""What a table of 10,000 models costs while 1,000 of them change every second, ours against Textual's `DataTable`.

Run it as `python tests/benchmarks/table_cost.py` (about 25 s a side and round). Each side is a real Textual app in a
process of its own on a pseudo-terminal whose output is read and thrown away. Printed per side: the time until the rows
are painted, the process's CPU share while nobody types (with the app that only makes the changes as the floor), and
the time from a key's bytes entering the terminal to the paint that shows it. `--chart` times the chart instead.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import pty
import random
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import DataTable, Static

from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.tui.chart import plot
from forge_tui.tui.chart.canvas import Pixels
from forge_tui.tui.lists.model_table import ModelTable
from forge_tui.tui.widgets.glyphs import UNICODE

SIDES = ("changes only", "ModelTable", "DataTable")
REFRESH = 0.5
DOWN = b"\x1b[B"


def first_models(count: int) -> list[ModelState]:
    """Models in training, each with a trend."""
    return [
        ModelState(
            name=f"cognate_planner_{index + 1}",
            index=index,
            seed=index,
            epochs=1000,
            phase=TrainingPhase.TRAINING,
            epoch=1,
            metrics={"loss": 2.3, "validation_accuracy": 0.1},
            best_loss=2.3,
            eta_seconds=999.0,
            trend=tuple(2.3 - 0.01 * step for step in range(24)),
        )
        for index in range(count)
    ]


def cells(model: ModelState) -> tuple[str, ...]:
    """The same columns for a `DataTable`."""
    return (
        model.name,
        "● train",
        f"{model.epoch}/{model.epochs}",
        f"{model.loss:.4f}",
        f"{model.best_loss:.4f}",
        f"{100 * (model.metrics.get('validation_accuracy') or 0):.1f}%",
        f"{model.eta_seconds:.0f}",
    )


class Side(App[None]):
    """The app of one side: it makes the changes, shows them, and writes down when it painted what a key did."""

    CSS = "ModelTable, DataTable { height: 1fr; }"
    BINDINGS = [Binding("down", "down", priority=True)]  # noqa: RUF012

    def __init__(self, side: str, models: int, changes: int, report: Path) -> None:
        super().__init__()
        self.side, self.changes, self.report = side, changes, report
        self.models = first_models(models)
        self.random = random.Random(7)
        self.key_waiting = False
        self.record: dict[str, Any] = {"paints": []}
        self.began = time.monotonic()

    def compose(self) -> ComposeResult:
        if self.side == "ModelTable":
            yield ModelTable()
        elif self.side == "DataTable":
            yield DataTable(cursor_type="row")
        else:
            yield Static("changes only")

    def on_mount(self) -> None:
        if self.side == "ModelTable":
            self.query_one(ModelTable).show(tuple(self.models))
        elif self.side == "DataTable":
            table = self.query_one(DataTable)
            for title in ("MODEL", "PHASE", "EPOCH", "LOSS", "BEST", "VAL", "ETA"):
                table.add_column(title, key=title, width=20 if title == "MODEL" else 10)
            for model in self.models:
                table.add_row(*cells(model), key=model.name)
        self.screen.focus_next()
        self.call_after_refresh(self.begin)

    def begin(self) -> None:
        self.record["load_s"] = time.monotonic() - self.began
        self.set_interval(REFRESH, self.change)
        self.set_timer(1.0, self.cpu_starts)

    def cpu_starts(self) -> None:
        self.record["cpu"] = [(time.monotonic(), cpu_seconds())]

    def change(self) -> None:
        chosen = self.random.sample(range(len(self.models)), round(self.changes * REFRESH))
        for index in chosen:
            model = self.models[index]
            loss = 2.3 / (1 + model.epoch)
            self.models[index] = replace(
                model,
                epoch=model.epoch + 1,
                metrics={**model.metrics, "loss": loss},
                best_loss=loss,
                eta_seconds=999.0 - model.epoch,
            )
        if self.side == "ModelTable":
            self.query_one(ModelTable).show(tuple(self.models))
        elif self.side == "DataTable":
            table = self.query_one(DataTable)
            for index in chosen:
                name, _, epoch, loss_text, best, _, eta = cells(self.models[index])
                for column, value in (("EPOCH", epoch), ("LOSS", loss_text), ("BEST", best), ("ETA", eta)):
                    table.update_cell(name, column, value)

    def action_down(self) -> None:
        if "cpu" in self.record and len(self.record["cpu"]) == 1:
            self.record["cpu"].append((time.monotonic(), cpu_seconds()))
        if self.side == "ModelTable":
            self.query_one(ModelTable).move(1)
        elif self.side == "DataTable":
            self.query_one(DataTable).action_cursor_down()
        else:
            self.query_one(Static).update(f"key {len(self.record['paints'])}")
        self.key_waiting = True

    def _display(self, screen: Any, renderable: Any) -> None:
        super()._display(screen, renderable)
        if self.key_waiting and renderable is not None:
            self.key_waiting = False
            self.record["paints"].append(time.monotonic())

    def on_unmount(self) -> None:
        self.record["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.report.write_text(json.dumps(self.record), encoding="utf-8")


def cpu_seconds() -> float:
    """User and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run_side(side: str, options: argparse.Namespace) -> dict[str, float]:
    """One run of one side on a pseudo-terminal: load time, CPU share, key to paint, memory, bytes written."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", options.rows, options.columns, 0, 0))
        command = [sys.executable, __file__, "--side", side, "--report", str(report)]
        command += ["--models", str(options.models), "--changes", str(options.changes)]
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True)
        os.close(slave)
        seen = [0]
        painted = threading.Event()
        reader = threading.Thread(target=drain, args=(master, seen, painted), daemon=True)
        reader.start()
        painted.wait(60)
        time.sleep(options.seconds + 6.0)
        shown = seen[0]
        sent = []
        chance = random.Random(3)
        for _ in range(options.keys):
            sent.append(time.monotonic())
            os.write(master, DOWN)
            time.sleep(0.1 + 0.1 * chance.random())
        time.sleep(1.0)
        os.write(master, b"\x11")
        process.wait(30)
        reader.join(5)
        os.close(master)
        record = json.loads(report.read_text(encoding="utf-8"))
    (start, cpu_start), (end, cpu_end) = record["cpu"]
    # A key that found the last one unpainted shares its paint; the next paint after a key is the one that shows it.
    paints = record["paints"]
    delays = [min(paint - key for paint in paints if paint > key) for key in sent if key < paints[-1]]
    return {
        "load s": record["load_s"],
        "CPU %": 100 * (cpu_end - cpu_start) / (end - start),
        "key p50 ms": 1e3 * statistics.median(delays),
        "key p95 ms": 1e3 * sorted(delays)[math.ceil(0.95 * len(delays)) - 1],
        "KB": shown / 1024,
        "MB": record["rss_mb"],
    }


def drain(master: int, seen: list[int], painted: threading.Event) -> None:
    """Read what the app writes, as a terminal does; `painted` is set at the first larger piece."""
    while True:
        try:
            data = os.read(master, 1 << 16)
        except OSError:
            return
        if not data:
            return
        seen[0] += len(data)
        if seen[0] > 200:
            painted.set()


def compare(options: argparse.Namespace) -> None:
    """Alternate the sides and print the median of each figure."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(options.rounds):
        for side in SIDES:
            found[side].append(run_side(side, options))
    print(
        f"{options.models} models, {options.changes} changes/s, {options.columns}x{options.rows}, "
        f"median of {options.rounds}"
    )
    figures = list(found[SIDES[0]][0])
    medians = {side: {name: statistics.median(run[name] for run in found[side]) for name in figures} for side in SIDES}
    print(f"{'':14}" + "".join(f"{name:>12}" for name in figures))
    for side in SIDES:
        print(f"{side:14}" + "".join(f"{medians[side][name]:12.1f}" for name in figures))
    floor, ours, theirs = (medians[side]["CPU %"] for side in SIDES)
    print(f"CPU above the floor: ModelTable {ours - floor:.1f} %, DataTable {theirs - floor:.1f} % of a core")


def chart_cost() -> None:
    """Print the median time of one picture of a chart at 120×40, for one model and for eight."""
    for models in (1, 2, 8):
        chance = random.Random(1)
        series = []
        for model in range(models):
            values = [2 * math.exp(-x / 60) + 0.01 * (model + 1) * (1 + chance.random()) for x in range(240)]
            points = tuple((float(x), value, 1.3 * value) for x, value in enumerate(values))
            series += [plot.Series(f"m{model}", "train", points), plot.Series(f"m{model}", "validation", points)]
        view = plot.View(
            start=0,
            end=239,
            log=True,
            kinds=frozenset({"train", "validation"}),
            pixels=Pixels.BRAILLE,
            x_title="epoch",
            y_title="loss",
        )
        cost = median_of(lambda series=series, view=view: plot.picture(series, view, 120, 40, UNICODE))  # type: ignore[misc]
        print(f"chart 120x40, {2 * models} curves of 240 buckets: {1e3 * cost:.1f} ms")


def median_of(work: Callable[[], object], times: int = 31) -> float:
    """The median of `times` runs, in seconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    """Compare, or be one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=1_000, help="changed models a second")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long the CPU share is measured")
    parser.add_argument("--keys", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--columns", type=int, default=120)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--chart", action="store_true", help="time the chart instead")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        Side(options.side, options.models, options.changes, options.report).run()
    elif options.chart:
        chart_cost()
    else:
        compare(options)


if __name__ == "__main__":
    main()
