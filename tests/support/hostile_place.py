"""A run directory of somebody else's making, hostile in one file after another, and every command that looks at it.

Nothing outside the directory may be written or removed, no code of it may run, no command may hang, and each says in
words what is wrong. What stands for harmful code leaves a marker behind.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile_files
import hostile_records
from hostile_commands import Outcome, carry_out, first_words
from running import SMALL, forge, kill_all, processes_of, wait_until

SECONDS = 90.0
LINE = "the quick brown fox jumps over the lazy dog;\n"
NET = """
from pathlib import Path
import torch
from torch import nn

Path({marker!r}).touch()

def model(inputs, hidden: int = 3):
    return nn.Sequential(nn.Linear(inputs.features, hidden), nn.Linear(hidden, inputs.outputs))

def dataset(seed, samples):
    features = torch.randn(samples, 4, generator=torch.Generator().manual_seed(seed))
    return features, (features[:, 0] > 0).long()
"""
MARKER = """
from pathlib import Path

def touch(*given, **named):
    Path({marker!r}).touch()

Path({marker!r}).touch()
"""
GROUPS: dict[str, dict[str, hostile_records.Change]] = {
    **{f"run.db, {name}": cases for name, cases in hostile_records.TABLES.items()},
    **hostile_files.FILES,
    **hostile_files.CODE,
}
CASES = [(group, name) for group, cases in GROUPS.items() for name in cases]


def _cli(*arguments: str) -> Callable[[Path], Any]:
    """A command of the command line; `RUN` stands for the run directory, `OTHER` for one that nobody has changed."""

    def do(run: Path) -> Any:
        from forge_tui import cli

        places = {"RUN": str(run), "OTHER": str(run.parent / "guard" / "other")}
        return cli.main([places.get(one, one) for one in arguments])

    return do


def _told(look: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """A call of the Python interface, whose errors a script would print."""

    def do(run: Path) -> Any:
        from forge_tui.errors import ForgeError
        from forge_tui.safe_io.printing import say

        try:
            look(run)
        except ForgeError as error:
            say(f"{type(error).__name__}: {error}")
            return error.exit_status
        return 0

    return do


def _looks(run: Path) -> None:
    from forge_tui.client.run import Run

    with Run(run) as attached:
        for model in attached.snapshot().models:
            attached.history(model.index)
            attached.series(model.index, "loss", 100)
            attached.epoch_page(model.index, 0, 1_000)
        since = 0
        while found := attached.events(since):
            since = found[-1][0]
        attached.messages(0, 100)
        attached.resources()


def _loads(run: Path) -> None:
    import forge_tui

    for path in sorted(run.glob("cognate_*.json")):
        forge_tui.load_model(path)


def _loads_ensemble(run: Path) -> None:
    import forge_tui

    forge_tui.load_ensemble(run)


def _resumes(run: Path) -> None:
    from forge_tui import client

    with client.resume(run, epochs=4) as begun:
        begun.wait(SECONDS)


VIEWS: dict[str, Callable[[Path], Any]] = {
    "runs": _cli("runs"),
    "status": _cli("status", "RUN"),
    "status --json": _cli("status", "RUN", "--json"),
    "report": _cli("report", "RUN"),
    "report --format json": _cli("report", "RUN", "--format", "json"),
    "report --format csv": _cli("report", "RUN", "--format", "csv"),
    "report --format tensorboard": _cli("report", "RUN", "--format", "tensorboard"),
    "export --to csv": _cli("export", "RUN", "--to", "csv"),
    "prometheus": _cli("prometheus", "RUN"),
    "report --against": _cli("report", "RUN", "--against", "OTHER"),
    "best": _cli("best", "RUN"),
    "best --json": _cli("best", "RUN", "--json"),
    "logs": _cli("logs", "RUN"),
    "logs MODEL": _cli("logs", "RUN", "1"),
    "wait": _cli("wait", "RUN"),
    "ensemble": _cli("ensemble", "RUN"),
    "sample": _cli("sample", "RUN", "1", "--length", "20"),
    "load_model": _told(_loads),
    "load_ensemble": _told(_loads_ensemble),
    "Run (Python)": _told(_looks),
}
STEERING: dict[str, Callable[[Path], Any]] = {
    name: _cli(*name.split(" ", 1)[:1], "RUN", *name.split(" ")[1:])
    for name in ("stop", "kill", "pause", "continue", "cancel 1", "retry 1", "workers 2")
}
SCREENS: dict[str, Callable[[Path], Any]] = {"attach": _cli("attach", "RUN"), "forge-tui": _cli()}
WRITES: dict[str, Callable[[Path], Any]] = {
    "resume": _cli("resume", "RUN", "--no-ui", "--epochs", "4"),
    "resume --accept-changes": _cli("resume", "RUN", "--no-ui", "--epochs", "4", "--accept-changes"),
    "resume (Python)": _told(_resumes),
    "--output RUN": _cli("--no-ui", *SMALL, "--models", "1", "--epochs", "1", "--output", "RUN"),
    "--output RUN --overwrite": _cli(
        "--no-ui", *SMALL, "--models", "1", "--epochs", "1", "--output", "RUN", "--overwrite"
    ),
    "rm": _cli("rm", "--yes", "RUN"),
}
_BARS = ("resume", "resume --accept-changes", "--output RUN", "--output RUN --overwrite")
"""What draws its progress on a terminal."""
COMMANDS = {**VIEWS, **STEERING, **SCREENS, **WRITES}


# Of each exit status (None: hung) its column's width.
_COLUMNS: tuple[tuple[int | None, int], ...] = ((0, 6), (1, 7), (2, 7), (4, 7), (None, 6))


@dataclass(slots=True)
class Account:
    """What each command did, in each group of cases, and everything that was wrong."""

    statuses: dict[str, Counter[int | None]] = field(default_factory=lambda: defaultdict(Counter))
    groups: dict[str, Counter[int | None]] = field(default_factory=lambda: defaultdict(Counter))
    longest: dict[str, float] = field(default_factory=dict)
    words: dict[str, tuple[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, command: str, group: str, case: str, outcome: Outcome, run: Path, wrong: list[str]) -> None:
        case = f"{group}: {case}"
        self.statuses[command][outcome.status] += 1
        self.groups[group][outcome.status] += 1
        self.longest[command] = max(self.longest.get(command, 0.0), outcome.seconds)
        if outcome.status in (2, 4):
            self.words.setdefault(command, (case, first_words(outcome.output, run)[:90]))
        self.problems += [f"{command}, {case}: {one}" for one in wrong]

    def table(self) -> str:
        """A line per command: how many directories it was given, what it exited with, and how long it took at most.

        Then a line per group: how many commands its cases were given, and what these exited with; and what was wrong.
        """
        head = f"{'cases':>6}{'done':>6}{'exit 1':>7}{'exit 2':>7}{'exit 4':>7}{'hung':>6}"
        lines = [f"{'command':<28}{head}{'longest':>9}"]
        for command in (one for one in COMMANDS if one in self.statuses):
            lines.append(f"{command:<28}{_numbers(self.statuses[command])}{self.longest[command]:>7.1f} s")
        lines += ["", f"{'group':<28}{head.replace('cases', 'tries')}"]
        lines += [f"{group:<28}{_numbers(counts)}" for group, counts in self.groups.items()]
        lines.append("")
        lines.append(
            "written or removed outside, run, tracebacks, control characters, other exits: "
            f"{len(self.problems) or 'nothing'}"
        )
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])


def _numbers(counts: Counter[int | None]) -> str:
    return f"{counts.total():>6}" + "".join(f"{counts[status]:>{width}}" for status, width in _COLUMNS)


class Hostile:
    """Two runs of somebody else's, and a place where a copy of one of them is made hostile and looked at."""

    def __init__(self, base: Path) -> None:
        self.account = Account()
        self._originals = base / "originals"
        self._place = base / "place"
        self._marker = base / "marker"
        self.run = self._place / "run"
        self._make_originals()
        self._make_place()

    def _make_originals(self) -> None:
        """As another user has made them: their state directory is not ours."""
        self._originals.mkdir()
        os.environ["FORGE_TUI_STATE"] = str(self._originals / "state")
        (self._originals / "text.txt").write_text(LINE * 20, encoding="utf-8")
        (self._originals / "net.py").write_text(NET.format(marker=str(self._marker)), encoding="utf-8")
        once = ("--no-ui", *SMALL, "--models", "2", "--epochs", "3", "--checkpoint-interval", "1")
        forge(*once, "--model-size", "8000", "--dataset", "text.txt", "--output", "text", cwd=self._originals)
        forge(
            *("--no-ui", "--policy", "dedicated", "--threads", "1", "--models", "2", "--epochs", "3"),
            *("--set", "data.samples=80", "--model-type", "net.py", "--dataset", "net.py"),
            *("--on-finish", f'["touch", "{self._marker}"]', "--output", "custom"),
            cwd=self._originals,
        )
        # The runner lives on for a moment, and its command for the end with it.
        wait_until(lambda: self._marker.exists() and not processes_of(self._originals / "custom"), "the end of the run")
        self._marker.unlink()

    def _make_place(self) -> None:
        guard = self._place / "guard"
        (guard / "inner").mkdir(parents=True)
        for name in ("mine.txt", "mine.py", "mine.json", "mine.safetensors", "mine.log", "inner/mine.txt"):
            (guard / name).write_text(f"this is {name}\n", encoding="utf-8")
        shutil.copy(self._originals / "text" / "cognate_planner_1.json", guard / "model.json")
        shutil.copytree(self._originals / "text", guard / "other")
        for name in ("cwd", "path"):
            (self._place / name).mkdir()
        (self._place / "path" / "hostile_marker.py").write_text(
            MARKER.format(marker=str(self._marker)), encoding="utf-8"
        )
        os.environ["PYTHONPATH"] = str(self._place / "path")
        os.environ["FORGE_TUI_STATE"] = str(self._place / "state")
        sys.path.append(str(self._place / "path"))
        _import_all()

    def look(self, group: str, case: str, commands: list[str]) -> None:
        """Make the run hostile in one way, and carry out the commands."""
        change = GROUPS[group][case]
        ready = False
        for command in commands:
            if command in WRITES or not ready:
                self._make(group, change)
            ready = command not in WRITES
            before = _tree(self._place)
            os.chdir(self._place / "cwd")
            do = COMMANDS[command]
            outcome = carry_out(lambda do=do: do(self.run), SECONDS, keys=command in SCREENS)
            wrong = [*outcome.problems(is_screen=command in (*SCREENS, *_BARS)), *self._changes(before, command)]
            left = processes_of(self.run)
            if left:
                wrong.append(f"left processes: {left}")
                kill_all(left)
            self.account.add(command, group, case, outcome, self._place, wrong)

    def _make(self, group: str, change: hostile_records.Change) -> None:
        for path in (self.run, self._place / "state", self._place / "cwd"):
            _remove(path)
        (self._place / "cwd").mkdir()
        shutil.copytree(self._originals / ("custom" if group == "code" else "text"), self.run)
        change(self.run)

    def _changes(self, before: dict[str, str], command: str) -> Iterator[str]:
        after = _tree(self._place)
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                what = "changed" if name in before and name in after else "removed" if name in before else "made"
                yield f"{name} was {what}"
        if self._marker.exists():
            self._marker.unlink()
            yield "code has run"


def _tree(place: Path) -> dict[str, str]:
    """What must stay as it is: everything but the run, the state directory, and where commands are given."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if name.partition("/")[0] in ("run", "state", "cwd") or "__pycache__" in name:
            continue
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[name] = f"{status.st_mode} {status.st_mtime_ns} {content}"
    return found


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _import_all() -> None:
    """What the commands import, so that a fork has it."""
    import importlib

    from forge_tui.cli import command_table

    for name in (*{command.module for command in command_table.COMMANDS}, "parser"):
        importlib.import_module(f"forge_tui.cli.{name}")
    for name in (
        "reports.ensemble", "reports.comparison", "exporters.tensorboard", "exporters.csv_files",
        "exporters.prometheus_runs", "batch.batch_mode", "reports.run_report",
        "client", "training.export", "training.ensemble", "training.sampling", "tui.app", "tui.terminal",
        "tui.screens.watch", "tui.screens.model", "tui.screens.runs",
    ):  # fmt: skip
        importlib.import_module(f"forge_tui.{name}")


def wanted(group: str, *, everything: bool) -> list[str]:
    """The commands that a group of cases concerns; `everything`: all of them."""
    if everything:
        return list(COMMANDS)
    if group == "state":
        return ["runs", "status", "forge-tui"]
    if group in ("run.db, epochs", "run.db, events", "run.db, resources"):
        return [*VIEWS, "attach"]
    if group in ("run.db, run", "run.db, models"):  # who starts anew in the directory reads little of these
        return [*VIEWS, "stop", "cancel 1", "attach", "resume", "rm"]
    if group in ("code", "run.db, paths", "run.db, schema"):
        return [*VIEWS, *STEERING, "attach", *WRITES]
    return [*VIEWS, "stop", "attach", "resume", "--output RUN --overwrite", "rm"]
