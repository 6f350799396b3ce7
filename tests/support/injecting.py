"""One error at a time in the calls of a run's processes to the disk, and what became of the run (Linux, strace).

A try runs a command of `forge-tui` (its stage) with an error at the n-th call of a name for one file, in a thread of
the command, of the runner, or of the worker. Which calls and files there are is found out by running the stage once
without; then n goes up until no error is injected any more.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faulty import environment
from injected import AGAIN, Outcome, Stage, Walk, excuse
from running import SMALL, epochs_of, has_ended, kill_all, processes_of, wait_until, weights
from storm_checks import history_problems, told
from traced import CALLS, Call, Injection, Place, Role, Tracer, calls, run

from forge_tui.client.run import Run
from forge_tui.runs import registry
from forge_tui.runs.names import DATABASE, REMOVED

SETTINGS = (
    *SMALL, "--models", "1", "--epochs", "4", "--checkpoint-interval", "2", "--samples", "100", "--features", "4",
    "--classes", "3",
)  # fmt: skip
_EARLIER = (*SETTINGS, "--seed", "5")
_PACE = {1: {"do": "pace", "seconds": 0.4, "epoch": 1}}
# What SQLite says of a file that it could not open, or not for writing.
_NOT_OPENED = "unable to open database file|attempt to write a readonly database"
_WORDS = {
    "EIO": re.compile(rf"Input/output error|disk I/O error|{_NOT_OPENED}"),
    "ENOSPC": re.compile(rf"No space left on device|database or disk is full|disk I/O error|{_NOT_OPENED}"),
}
# A name that has something drawn in it, as no other run has.
_DRAWN = re.compile(
    r"(?<=/\.settings\.toml\.)[a-z0-9_]{8}$|\d{20}-[0-9a-f]{12}(?=\.json)|(?<=-)[0-9a-f]{16}(?=\.(?:tmp|json)$)"
)
# A new database is made in the same way at every start.
_DATABASE_FILE = re.compile(r"/run\.db(?:-wal|-shm|-journal)?$|/\.run\.db\.[0-9a-f]{8}\.tmp")
_FAILURES = re.compile(r"^(?:\w+\.)*\w*Error\b(?!: CUDA)", re.MULTILINE)
_MOST = 400


class Injector:
    """Tries in one directory below `base`: every one finds the same there, at the same path."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.place = base / "try"
        self.directory = self.place / "run"
        self._kept = 0
        for name, arguments in (("undisturbed", SETTINGS), ("earlier", _EARLIER)):
            self._clear()
            with environment(self.place):
                _forge("--no-ui", *arguments, "--output", self.directory)
            setattr(self, name, weights(self.directory))
            self._keep_as(name)
        with Run(self.directory) as run_there:
            self._created = run_there.snapshot().run.created
        """When the earlier run was."""

    undisturbed: dict[str, bytes]
    earlier: dict[str, bytes]

    def walks(self, stage: Stage, role: Role) -> list[Walk]:
        """What there is to walk through, found out without an error."""
        self._lay_out(stage)
        with environment(self.place):
            Tracer(role, self._trace, None, stage is Stage.STOP).run(_command(stage, self.directory), self.directory)
        found: dict[tuple[str, Place], list[Call]] = {}
        made = list(calls(self._trace_text()))
        for call in made:
            if self._is_ours(call):
                found.setdefault((call.name, call.place), []).append(call)
        theirs = {(call.name, call.number) for call in made if not self._is_ours(call)}
        return list(self._walks(stage, role, found, theirs))

    def _walks(
        self, stage: Stage, role: Role, found: dict[tuple[str, Place], list[Call]], theirs: set[tuple[str, int]]
    ) -> Iterator[Walk]:
        for (name, place), made in sorted(found.items(), key=lambda item: (item[0][0], item[0][1].path)):
            if name == "openat" and not any(call.creates for call in made):
                continue
            file = place.path.removeprefix(f"{self.place}/")
            if stage in AGAIN and name not in CALLS["rename"] + CALLS["unlink"] and _DATABASE_FILE.search(place.path):
                continue
            if stage in AGAIN and name == "unlink" and ".tmp-journal" in file:
                continue
            if _DRAWN.search(file) or _DRAWN.search(place.said):
                # No two runs have that name: the calls are distinguished by their numbers among all of the thread.
                alone = tuple(sorted({call.number for call in made if (name, call.number) not in theirs}))
                idle = frozenset(call.number for call in made if call.failed)
                if alone:
                    yield Walk(stage, role, name, None, _DRAWN.sub("…", file), alone, idle)
                continue
            idle = frozenset(call.here for call in made if call.failed)
            yield Walk(stage, role, name, place, file, tuple(range(1, max(call.here for call in made) + 1)), idle)

    def follow(self, walk: Walk, error: str, most: int | None = None) -> Iterator[Outcome]:
        """Carry a walk out: one try for each number, until none is hit. `most`: only so many, first and last."""
        known = walk.numbers
        if most is not None and len(known) > most:
            known = (*known[: most // 2], *known[len(known) - (most - most // 2) :])
        for number in known:
            outcome = self.attempt(walk, error, number)
            yield outcome
            if not outcome.hit and walk.place is not None and most is None:
                return
        if walk.place is None or most is not None:
            return
        for number in range(known[-1] + 1, _MOST):
            outcome = self.attempt(walk, error, number)
            yield outcome
            if not outcome.hit:
                return

    def attempt(self, walk: Walk, error: str, number: int) -> Outcome:
        """Carry out a stage with one error, and look at what is left."""
        self._lay_out(walk.stage)
        outcome = Outcome(walk, error, number)
        injection = Injection(walk.name, number, error, walk.place)
        with environment(self.place):
            tracer = Tracer(walk.role, self._trace, injection, walk.stage is Stage.STOP)
            done = tracer.run(_command(walk.stage, self.directory), self.directory)
            struck = [call for call in calls(self._trace_text()) if call.injected]
            if walk.place is None:  # counted among all calls: at times it strikes another one
                struck = [call for call in struck if call.creates or call.name != "openat"]
            files = [self._name_of(call) for call in struck if self._is_ours(call)]
            outcome.hit = bool(files)
            if walk.place is None and outcome.hit and walk.file not in files:
                outcome.walk = replace(walk, file=files[0], idle=frozenset())
            outcome.status = done.returncode
            if not outcome.hit:
                wait_until(lambda: has_ended(self.directory), "the end of all processes", 60.0)
                return outcome  # nothing was struck, or something that is no file of the run
            self._judge(outcome, done.stdout + done.stderr, done.stderr)
            if walk.stage is Stage.REMOVE:
                self._remove_again(outcome)
            else:
                self._go_on(outcome)
        if outcome.problems:
            self._kept += 1
            shutil.copytree(self.place, self.base / f"kept-{self._kept}", symlinks=True)
        return outcome

    # --- what a try finds

    @property
    def _trace(self) -> Path:
        return self.place / "trace"

    def _trace_text(self) -> str:
        return self._trace.read_text(errors="replace") if self._trace.exists() else ""

    def _is_ours(self, call: Call) -> bool:
        path = call.place.path
        return path.startswith(f"{self.place}/") and path not in (str(self._trace), str(self.place / "python"))

    def _name_of(self, call: Call) -> str:
        return _DRAWN.sub("…", call.place.path).removeprefix(f"{self.place}/")

    def _clear(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()

    def _keep_as(self, name: str) -> None:
        shutil.copytree(self.place, self.base / "made" / name, symlinks=True)

    def _lay_out(self, stage: Stage) -> None:
        name = {Stage.REMOVE: "undisturbed", Stage.OVERWRITE: "earlier"}.get(stage, stage.name)
        made = self.base / "made" / name
        if not made.exists() and stage not in (Stage.START, Stage.STOP):
            with environment(self.place):
                self._make(stage)
            self._keep_as(name)
        shutil.rmtree(self.place)
        if made.exists():
            shutil.copytree(made, self.place, symlinks=True)
            return
        self.place.mkdir()
        if stage is Stage.STOP:
            with (
                environment(self.place, {1: {"do": "pace", "seconds": 2.5, "epoch": 2}}),
                pytest.MonkeyPatch.context() as names,
            ):
                names.setenv("PLAIN_NAMES", "1")
                _forge("--no-ui", *SETTINGS, "--detach", "--output", self.directory)
                wait_until(lambda: epochs_of(self.directory) == 1, "an epoch")

    def _make(self, stage: Stage) -> None:
        """What a stage begins with, from a run of other weights that has ended, or from nothing."""
        if stage is Stage.RESUME:
            self._clear()
            with environment(self.place, _PACE):
                _forge("--no-ui", *SETTINGS, "--detach", "--output", self.directory)
                wait_until(lambda: epochs_of(self.directory) >= 2, "two epochs")
                wait_until(lambda: list(self.directory.glob("checkpoints/*/step-*.safetensors")), "a checkpoint")
            there = processes_of(self.directory)
            for process in there:
                process.suspend()
            kill_all(there)
            wait_until(lambda: has_ended(self.directory), "the end of all processes")
            for half in (".settings.toml.00000000.tmp", "logs/.runner.log.00000000.tmp"):
                (self.directory / half).write_bytes(b"half")
            return
        shutil.rmtree(self.place)
        shutil.copytree(self.base / "made" / "earlier", self.place, symlinks=True)
        if stage is Stage.FINISH:
            os.rename(self.directory / DATABASE, self.directory / REMOVED)
            return
        ends = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "faults"), "KILL_AT_RENAME": f"/{DATABASE}"}
        done = run([sys.executable, "-m", "forge_tui", *_command(Stage.OVERWRITE, self.directory)], ends)
        assert done.returncode == 1, done.stderr
        assert (self.directory / "previous-1").is_dir()
        wait_until(lambda: has_ended(self.directory), "the end of all processes")

    # --- what must hold

    def _judge(self, outcome: Outcome, said: str, err: str) -> None:
        if "Traceback" in said or _FAILURES.search(err):
            outcome.problems.append(f"a traceback, or an exception's name: {err[-1500:]}")
        if outcome.status not in (0, 1, 2, 3, 4):
            outcome.problems.append(f"exit status {outcome.status}: {err[-500:]}")
        try:
            wait_until(lambda: has_ended(self.directory), "the end of all processes", 20.0)
        except pytest.fail.Exception:
            outcome.problems.append(f"left behind: {processes_of(self.directory)}")
            kill_all(processes_of(self.directory))
        words = _WORDS[outcome.error]
        if found := _sentence(words, said):
            outcome.told, outcome.words = "screen", found
        elif found := next(filter(None, (_sentence(words, text) for text in self._records())), ""):
            outcome.told, outcome.words = "records", found
        if outcome.told == "nowhere":
            outcome.excuse = excuse(outcome.walk, outcome.number) or self._excuse_of_list(outcome.walk)
        if outcome.hit and outcome.told == "nowhere" and outcome.excuse is None:
            outcome.problems.append(f"silent: nothing says that the disk failed: {said[-1000:]}")
        for log in self.directory.glob("**/*.log"):
            if "Traceback" in (text := log.read_text(errors="replace")):
                outcome.problems.append(f"a traceback in {log.name}: {text[-1500:]}")

    def _excuse_of_list(self, walk: Walk) -> str | None:
        if not walk.file.startswith("state/forge-tui/runs."):
            return None
        is_listed = any(one.path == self.directory and one.status == "completed" for one in registry.known())
        return (
            "the list of runs has the run and its end nevertheless: it is written at several times"
            if is_listed
            else None
        )

    def _records(self) -> Iterator[str]:
        """What the run itself says: its events, and its logs."""
        if (self.directory / DATABASE).exists():
            yield told("report", self.directory, "--json")[1]
            with Run(self.directory) as run:
                yield json.dumps([record for _, record in run.events()])
        for log in self.directory.glob("**/*.log"):
            yield log.read_text(errors="replace")

    def _go_on(self, outcome: Outcome) -> None:
        """The run is readable and can be continued; where none has begun, it can be started."""
        stage, again = outcome.walk.stage, None
        if (self.directory / DATABASE).exists():
            status, out, err = told("status", self.directory, "--json")
            if status != 0:
                outcome.problems.append(f"status exits {status}: {err}")
                return
            outcome.became = json.loads(out)["state"]
            ended = outcome.became == "completed"
            with Run(self.directory) as run_there:
                is_earlier = run_there.snapshot().run.created == self._created
            if ended and is_earlier and stage in (Stage.OVERWRITE, Stage.RECOVER):
                outcome.became, ended = "refused", False
                again = _command(stage, self.directory)
            if outcome.status == 0 and stage is not Stage.STOP and not ended:
                outcome.problems.append(f"exit status 0, and the run is {outcome.became}")
            if outcome.status != 0 and stage is not Stage.STOP and ended:
                outcome.problems.append(f"exit status {outcome.status}, though the run is completed")
            again = again or (() if ended else ("resume", str(self.directory)))
        else:
            outcome.became = "refused"
            if outcome.status == 0:
                outcome.problems.append("exit status 0, and there is no run")
            left = sorted(path.name for path in self.directory.rglob("*"))
            if left and stage is Stage.START:
                outcome.problems.append(f"no run has begun, and {left} are left")
            again = _command(Stage.OVERWRITE if stage is Stage.RECOVER else stage, self.directory)
        if again:
            done = run([sys.executable, "-m", "forge_tui", *again])
            if done.returncode != 0:
                outcome.problems.append(f"{again[0]} afterwards exits {done.returncode}: {done.stderr[-1500:]}")
                return
        self._compare(outcome)

    def _compare(self, outcome: Outcome) -> None:
        if weights(self.directory) != self.undisturbed:
            outcome.problems.append("the weights are not those of an undisturbed run")
        if outcome.walk.stage in (Stage.OVERWRITE, Stage.RECOVER):
            kept = [weights(path) for path in sorted(self.directory.glob("previous-*"))]
            if kept != [self.earlier]:
                outcome.problems.append(f"the earlier run is not in previous-1/: {[sorted(one) for one in kept]}")
        outcome.problems += history_problems(self.directory)
        outcome.problems += [f"{path.name} is left" for path in self.directory.rglob("*.tmp")]

    def _remove_again(self, outcome: Outcome) -> None:
        outcome.became = "refused" if self.directory.exists() else "removed"
        if outcome.status == 0 and self.directory.exists():
            left = sorted(path.name for path in self.directory.rglob("*"))
            outcome.problems.append(f"rm exits 0 and leaves {left}")
        if self.directory.exists() and not (outcome.status == 4 and not any(self.directory.iterdir())):
            status, _out, err = told("rm", "--yes", self.directory)
            if status != 0 or self.directory.exists():
                outcome.problems.append(f"rm afterwards exits {status}: {err}")


def _sentence(words: re.Pattern[str], text: str) -> str:
    """The first line, or quoted string of one, with these words; an empty string where there is none."""
    found = re.search(rf'[^"\n]*(?:{words.pattern})[^"\n]*', text)
    return found.group().strip()[:300] if found else ""


def _command(stage: Stage, directory: Path) -> tuple[str, ...]:
    match stage:
        case Stage.START | Stage.FINISH:
            return ("--no-ui", *SETTINGS, "--output", str(directory))
        case Stage.OVERWRITE | Stage.RECOVER:
            return ("--no-ui", *SETTINGS, "--overwrite", "--output", str(directory))
        case Stage.REMOVE:
            return ("rm", "--yes", str(directory))
        case Stage.RESUME:
            return ("resume", str(directory))
        case Stage.STOP:
            return ("stop", str(directory))


def _forge(*arguments: str | Path) -> None:
    done = run([sys.executable, "-m", "forge_tui", *map(str, arguments)])
    assert done.returncode == 0, done.stderr
