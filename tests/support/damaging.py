"""Cut off and flip bits in every kind of state file of a run, and see that each reader says so or shows what was."""

from __future__ import annotations

import json
import os
import random
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from running import SMALL, begin, events, forge, has_ended, processes_of, wait_until
from storm_checks import told

from forge_tui.client.run import Run
from forge_tui.errors import ForgeError
from forge_tui.protocol.job import Control, Job
from forge_tui.runs import commands, registry
from forge_tui.runs.claims import Claims
from forge_tui.runs.layout import RunDirectory
from forge_tui.training.tensor_file import digest

_ARGUMENTS = (*SMALL, "--models", "2", "--set", "data.samples=128", "--checkpoint-interval", "4")
_REFUSED = (1, 2, 4)


@dataclass(slots=True)
class Account:
    """Outcomes by kind of file, and everything that went wrong."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def table(self) -> str:
        """One line for each kind of file."""
        lines = [f"{'damaged':<22}{'cases':>7}{'refused':>9}{'told':>7}{'as it was':>11}"]
        for kind, counts in sorted(self.outcomes.items()):
            row = [counts.total(), counts["refused"], counts["told"], counts["as it was"]]
            lines.append(f"{kind:<22}{row[0]:>7}{row[1]:>9}{row[2]:>7}{row[3]:>11}")
        lines.append(f"lost: {len(self.problems) or 'nothing'}")
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])


@dataclass(frozen=True, slots=True)
class Truth:
    """What may be shown of a run, by model: the losses of its epochs, and the SHA-256 of its finished weights."""

    losses: dict[str, list[float]]
    weights: dict[str, str]


class Damage:
    """Two runs to damage: one that has ended, and one whose runner was killed (with run.db-wal)."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.account = Account()
        self._originals = base / "originals"
        self._made = base / "run"
        ended, died = self._originals / "ended", self._originals / "died"
        out = forge("--no-ui", "--json", *_ARGUMENTS, "--epochs", "24", "--output", ended).stdout
        losses: dict[str, list[float]] = {}
        for record in events(out):
            if record["event"] == "epoch_finished":
                losses.setdefault(record["model"], []).append(record["loss"])
        _kill_in_the_middle(died)
        self.truth = Truth(losses, _digests(ended))
        self._kinds: dict[str, Callable[[random.Random], str]] = {
            "run.db": lambda chosen: self._database("ended", "run.db", chosen),
            "run.db of a died run": lambda chosen: self._database("died", "run.db", chosen),
            "run.db-wal": lambda chosen: self._database("died", "run.db-wal", chosen),
            "settings.toml": self._settings,
            "checkpoint": self._checkpoint,
            "NAME.json": lambda chosen: self._model("json", chosen),
            "NAME.safetensors": lambda chosen: self._model("safetensors", chosen),
            "commands/*.json": self._command,
            "runs.jsonl": self._registry,
            "claims/*.json": self._claim,
        }

    def try_out(self, cases: int, chosen: random.Random) -> Account:
        """Damage `cases` files, every kind in turn."""
        kinds = list(self._kinds.items())
        for number in range(cases):
            kind, case = kinds[number % len(kinds)]
            try:
                outcome = case(chosen)
            except Exception:  # a finding: it is told with the place
                outcome = "failed"
                self.account.problems.append(f"{kind}, case {number}: {traceback.format_exc(limit=-4)}")
            self.account.outcomes.setdefault(kind, Counter())[outcome] += 1
        return self.account

    # --- kinds of files

    def _database(self, which: str, name: str, chosen: random.Random) -> str:
        run = self.copy(which)
        _damage(run / name, chosen)
        outcomes = {self._told(arguments, run) for arguments in _readings(run)}
        outcomes |= {self._look(run), self.resumed(run)}
        if chosen.random() < 0.2:
            status, _, err = told("rm", "--yes", run)
            # Of a damaged row it is not known which model's files are the run's.
            is_done = status == 0 and (not run.exists() or "files that no run has made stay" in err)
            assert is_done or (status in _REFUSED and str(run) in err), (status, err)
        return next(kind for kind in ("refused", "told", "as it was") if kind in outcomes)

    def _look(self, run: Path) -> str:
        """As the UI reads: every number is one that was written."""
        try:
            with Run(run) as attached:
                snapshot = attached.snapshot()
                for model in snapshot.models:
                    self._is_true(model.name, model.epoch, model.loss)
                    for epoch in attached.history(model.index):
                        self._is_true(model.name, epoch.epoch, epoch.loss)
                    for last, low, high in attached.series(model.index, "loss", 1_000):
                        if low is not None:  # a damaged row leaves a gap
                            self._is_true(model.name, int(last), low)
                            self._is_true(model.name, int(last), high)
                for _, record in attached.events():
                    if record["event"] == "epoch_finished":
                        self._is_true(record["model"], record["epoch"], record["loss"])
                return "told" if attached.snapshot().problems else "as it was"
        except ForgeError as error:
            return _refused(error, run)

    def _told(self, arguments: tuple[str | Path, ...], run: Path) -> str:
        status, out, err = told(*arguments)
        if status != 0:
            assert status in _REFUSED, (arguments, status, err)
            assert str(run) in err, (arguments, err)
            return "refused"
        if arguments[:1] == ("report",) and "csv" in arguments:
            for line in out.splitlines()[1:]:
                model, _, _, epoch, _, _, loss, *_ = line.split(",")
                self._is_true(model, int(epoch), float(loss))
        if arguments[:1] == ("report",) and "json" in arguments:
            for model in json.loads(out)["models"]:
                self._is_true(model["name"], model["epoch"], model["loss"])
                for item in model["history"]:
                    self._is_true(model["name"], item["epoch"], item["loss"])
        return "told" if "warning:" in err or "left out" in out else "as it was"

    def _is_true(self, model: str, epoch: int, loss: float | None) -> None:
        if epoch == 0 or loss is None:
            return
        assert self.truth.losses[model][epoch - 1] == loss, (model, epoch, loss)

    def resumed(self, run: Path) -> str:
        """What `resume` would go on from."""
        from forge_tui.protocol.request import Request
        from forge_tui.runner.resuming import open_earlier

        request = Request(action="resume", directory=str(run), working_directory=str(run), epochs=48)
        try:
            earlier = open_earlier(request, RunDirectory(run))
        except ForgeError as error:
            return _refused(error, run)
        original = open_earlier(request, RunDirectory(self._originals / ("died" if _has_died(run) else "ended")))
        assert earlier.settings.training == original.settings.training
        assert earlier.settings.data == original.settings.data
        assert earlier.settings.run.seed == original.settings.run.seed
        for model in earlier.models:
            self._is_true(model.name, model.epoch, model.loss)
            assert model.seed == model.index - 1
        return "as it was"

    def _settings(self, chosen: random.Random) -> str:
        run = self.copy("died")
        _damage(run / "settings.toml", chosen)
        return self.resumed(run)

    def _checkpoint(self, chosen: random.Random) -> str:
        run = self.copy("died")
        files = sorted((run / "checkpoints").rglob("*.safetensors"))
        damaged = chosen.choice(files)
        _damage(damaged, chosen)
        warnings, final = _trained_on(run, damaged.parent.name)
        assert final == self.truth.weights[damaged.parent.name]
        return "told" if any(str(damaged) in warning for warning in warnings) else "as it was"

    def _model(self, suffix: str, chosen: random.Random) -> str:
        from forge_tui import load_model

        run = self.copy("ended")
        stem = run / "cognate_planner_1"
        _damage(stem.with_suffix(f".{suffix}"), chosen)
        try:
            network = load_model(stem)
        except ForgeError as error:
            return _refused(error, stem)
        assert digest(dict(network.state_dict())) == self.truth.weights[stem.name]
        return "as it was"

    def _command(self, chosen: random.Random) -> str:
        run = self.copy("ended")
        commands.send(RunDirectory(run), "workers", {"workers": 3}, "ada@server")
        (file,) = (run / "commands").glob("*.json")
        _damage(file, chosen)
        (taken,) = commands.take(RunDirectory(run))
        assert not list((run / "commands").glob("*.json"))
        assert taken.problem is None or file.name in taken.problem
        return "told" if taken.problem else "as it was"

    def _registry(self, chosen: random.Random) -> str:
        for which in ("ended", "died"):
            with Run(self._originals / which) as run:
                registry.register(run.snapshot().run, self.base)
        file = self.base / "runs.jsonl"
        _damage(file, chosen)
        shown = {run.path: run for run in registry.known(self.base)}
        expected = {self._originals / which for which in ("ended", "died")}
        assert set(shown) <= expected, shown
        with Run(self._originals / "ended") as run:
            registry.register(run.snapshot().run, self.base)
        assert self._originals / "ended" in {run.path for run in registry.known(self.base)}
        file.unlink()
        return "as it was" if set(shown) == expected else "told"

    def _claim(self, chosen: random.Random) -> str:
        mine, other = (Claims(RunDirectory(self.base / name), self.base) for name in ("mine", "other"))
        other.set(2, 1)
        (file,) = (self.base / "claims").glob("*.json")
        _damage(file, chosen)
        seen = mine.others()
        other.release()
        return "as it was" if [claim.workers for claim in seen] == [2] else "told"

    def copy(self, which: str) -> Path:
        shutil.rmtree(self._made, ignore_errors=True)
        return Path(shutil.copytree(self._originals / which, self._made))


def _refused(error: ForgeError, path: Path) -> str:
    assert str(path) in str(error), error
    return "refused"


def _readings(run: Path) -> Iterator[tuple[str | Path, ...]]:
    yield "status", run
    yield "status", run, "--json"
    for form in ("text", "json", "csv"):
        yield "report", run, "--format", form
    yield "logs", run


def _has_died(run: Path) -> bool:
    return (run / "run.db-wal").exists() or not (run / "cognate_planner_2.json").exists()


def _damage(file: Path, chosen: random.Random) -> None:
    """Cut it off (a third of the time), or flip a bit or change a byte anywhere."""
    content = bytearray(file.read_bytes())
    if chosen.random() < 0.35:
        del content[chosen.randrange(len(content)) :]
    else:
        position = chosen.randrange(len(content))
        content[position] ^= 1 << chosen.randrange(8) if chosen.random() < 0.7 else chosen.randrange(1, 256)
    with file.open("r+b") as opened:
        opened.truncate()
        opened.write(content)


def _kill_in_the_middle(run: Path) -> None:
    """A run whose first model is finished and whose second was in training when the runner was killed."""
    for _ in range(20):
        begun = begin("--no-ui", *_ARGUMENTS, "--epochs", "24", "--mode", "series", "--output", run)
        second = RunDirectory(run).checkpoint_directory("cognate_planner_2")
        wait_until(lambda: len(list(second.glob("step-*.safetensors"))) >= 2, "two checkpoints of the second model")  # noqa: B023
        for process in processes_of(run, "runner"):
            process.kill()
        begun.communicate()
        wait_until(lambda: has_ended(run), "the end of the workers")
        if _has_died(run):
            return
        shutil.rmtree(run)  # on a busy machine it was at its end before it was killed
    raise AssertionError("no runner could be killed in the middle of its run")


def _digests(run: Path) -> dict[str, str]:
    return {path.stem: json.loads(path.read_bytes())["sha256"] for path in run.glob("cognate_*.json")}


def _trained_on(run: Path, model: str) -> tuple[list[str], str]:
    """Warnings and the final weights of `model`, trained to its end in this process."""
    from forge_tui.settings.files import read_settings
    from forge_tui.settings.schema import to_plain
    from forge_tui.training.trainer import Trainer

    warnings: list[str] = []
    index = int(model.rpartition("_")[2])
    for file in run.glob(f"{model}.*"):
        file.unlink()
    job = Job(
        run=run.name, directory=str(run), working_directory=str(run), model=model, index=index, attempt=1,
        seed=index - 1, settings=to_plain(read_settings(run / "settings.toml")), threads=1, device="cpu",
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    Trainer([job], lambda event: warnings.append(getattr(event, "message", "")), Control()).run()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)  # a worker's own process needs no putting back
    return warnings, json.loads((run / f"{model}.json").read_bytes())["sha256"]


def uses_private_state(base: Path) -> None:
    """Keep the user's list of runs out of this."""
    os.environ["XDG_STATE_HOME"] = str(base / "state")
    os.environ["XDG_CONFIG_HOME"] = str(base / "config")
