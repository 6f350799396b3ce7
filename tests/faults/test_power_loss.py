"""Power loss: run.db lost its last transactions, and checkpoints are newer; or the newest checkpoints are lost.

SQLite syncs a WAL only when it is copied into the database, so what a power loss takes from run.db is the end of
`run.db-wal`. Each test cuts it off there: after a transaction, or in the middle of one.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from depth import all_but, crossed
from faulty import environment
from make_runs import table as data_table
from running import SMALL, begin, epochs_of, forge, has_ended, kill_all, processes_of, wait_until, weights
from storm_checks import history_problems, told

from forge_tui.client.run import Run
from forge_tui.runs.checkpoint_files import checkpoint_files
from forge_tui.runs.layout import RunDirectory

EPOCHS = 24
ALWAYS = ("--no-ui", *SMALL, "--epochs", str(EPOCHS), "--checkpoint-interval", "2", "--set", "data.samples=200")
DIVERGES = (
    "--dataset", "data.csv", "--optimizer", "sgd", "--momentum", "0.9", "--learning-rate", "0.5", "--schedule",
    "one_cycle", "--on-divergence", "lower", "--max-retries", "100",
)  # fmt: skip
"""Each model goes back twice before its eighth epoch."""
KINDS = {
    "series": ("--models", "3"),
    "groups": ("--models", "4", "--mode", "parallel", "--workers", "2", "--fuse", "2"),
    "patience": ("--models", "3", "--patience", "4", "--learning-rate", "0.02"),
    "halving": ("--models", "6", "--halving", "2", "--halving-first", "4"),
    "retried": ("--models", "2"),
    "diverged": ("--models", "1", *DIVERGES),
}
# When it is killed: a model, and its epoch.
MIDDLE = {
    "series": (2, 12),
    "groups": (1, 12),
    "patience": (2, 4),
    "halving": (4, 3),
    "retried": (1, 14),
    "diverged": (1, 13),
}
PACE = {"do": "pace", "seconds": 0.06, "epoch": 1}
RETRIED = {"do": "raise", "epoch": 7, "attempts": 1, "then": PACE}
# What part of the transactions in the WAL is left, and how many bytes of the next one.
LEFT = ((0.0, 0), (0.3, 700), (0.6, 0), (0.97, 700))


@dataclass(frozen=True)
class Killed:
    """A run all of whose processes were killed at once: its directory, a copy of it, and an undisturbed run.

    `goes_back`: its models return to earlier epochs by themselves.
    """

    directory: Path
    copy: Path
    undisturbed: Path
    kind: str = ""
    goes_back: bool = False

    def again(self) -> list[int]:
        """Lay it out as it was killed; the lengths of its WAL after each of its transactions."""
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(self.copy, self.directory)
        (self.directory / "run.db-shm").unlink()  # lies in memory, and is made anew
        return commits((self.directory / "run.db-wal").read_bytes())

    def cut(self, length: int) -> None:
        """Take the end of its WAL."""
        os.truncate(self.directory / "run.db-wal", length)


def commits(wal: bytes) -> list[int]:
    """Where transactions end: a frame that commits says how many pages the database has then (fileformat2, 4.1)."""
    page = int.from_bytes(wal[8:12], "big")
    salt, found = wal[16:24], [32]
    for start in range(32, len(wal) - page - 23, 24 + page):
        if wal[start + 8 : start + 16] != salt:  # of an earlier round of the same file
            break
        if int.from_bytes(wal[start + 4 : start + 8], "big"):
            found.append(start + 24 + page)
    return found


@pytest.fixture(scope="module")
def killed_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Killed]:
    """Makes the killed run of a kind, once."""
    return functools.cache(lambda kind: made_and_killed(kind, tmp_path_factory.mktemp(kind)))


@pytest.fixture
def killed(request: pytest.FixtureRequest, killed_runs: Callable[[str], Killed]) -> Iterator[Killed]:
    """The killed run of a kind; a test leaves no process of it."""
    made = killed_runs(request.param)
    yield made
    assert not processes_of(made.directory)


def made_and_killed(kind: str, base: Path) -> Killed:
    arguments = (*ALWAYS, *KINDS[kind])
    pace = dict.fromkeys(range(1, 7), RETRIED if kind == "retried" else PACE)
    made = Killed(base / "run", base / "copy", base / "undisturbed", kind, kind == "diverged")
    (base / "data.csv").write_text(data_table(320), encoding="utf-8")
    with environment(base):
        forge(*arguments, "--output", made.undisturbed, cwd=base)
    model, epoch = MIDDLE[kind]
    with environment(base, pace):
        front = begin(*arguments, "--output", made.directory, cwd=base)
        wait_until(lambda: epochs_of(made.directory, model) >= epoch, "the middle of the run")
    stop_and_kill(made.directory)
    front.communicate()
    shutil.copytree(made.directory, made.copy)
    return made


def stop_and_kill(directory: Path) -> None:
    """End all processes of the run; none does anything after the first has ended."""
    there = processes_of(directory)
    for process in there:
        process.suspend()
    kill_all(there)
    wait_until(lambda: has_ended(directory), "the end of all processes")


def table(directory: Path) -> list[tuple[str, ...]]:
    """Every epoch as the report has it: model, epoch and what was measured."""
    status, out, err = told("report", directory, "--format", "csv")
    assert status == 0
    assert err == ""
    kept = ("model", "epoch", "step", "loss", "validation_loss", "validation_accuracy", "learning_rate")
    return [tuple(row[name] for name in kept) for row in csv.DictReader(io.StringIO(out))]


def assert_as_undisturbed(killed: Killed, *, goes_back: bool = False) -> None:
    """The same bytes, the same metadata, and each epoch once, with the same numbers.

    `goes_back`: an epoch may be trained again though there was a checkpoint of it once.
    """
    assert weights(killed.directory) == weights(killed.undisturbed)
    assert table(killed.directory) == table(killed.undisturbed)
    assert history_problems(killed.directory, goes_back=goes_back or killed.goes_back) == []
    for path in killed.undisturbed.glob("cognate_*.json"):
        theirs, ours = json.loads(path.read_bytes()), json.loads((killed.directory / path.name).read_bytes())
        for key in ("sha256", "exact", "epochs_completed", "best_epoch", "loss", "best_loss", "validation"):
            assert ours[key] == theirs[key], (path.name, key)


def recorded_epochs(directory: Path) -> int:
    with closing(sqlite3.connect(f"file:{directory}/run.db?mode=ro", uri=True)) as database:
        count: int = database.execute("SELECT count(*) FROM epochs").fetchone()[0]
        return count


def only(*tried: str) -> list[Any]:
    """All kinds, those that are not `tried` with `--deep` only."""
    return all_but(KINDS.keys() - set(tried), KINDS)


@pytest.mark.parametrize(
    ("killed", "left"),
    crossed(
        KINDS, LEFT, {("groups", LEFT[0]), ("diverged", LEFT[0]), ("series", LEFT[1]), ("halving", LEFT[1])}
    ),
    indirect=["killed"],
)  # fmt: skip
def test_an_older_database_with_newer_checkpoints(killed: Killed, left: tuple[float, int]) -> None:
    part, torn = left
    ends = killed.again()
    before = recorded_epochs(killed.copy)
    end = ends[int(part * (len(ends) - 1))]
    killed.cut(end + torn)
    assert told("status", killed.directory)[0] == 0
    assert recorded_epochs(killed.directory) < before
    forge("resume", killed.directory)
    assert_as_undisturbed(killed)


@pytest.mark.parametrize("killed", only("halving", "diverged"), indirect=True)
def test_a_database_without_its_log_as_it_was_before_any_model_began(killed: Killed) -> None:
    """All the epochs, retries and rollbacks there were are in checkpoints and finished models only."""
    killed.again()
    (killed.directory / "run.db-wal").unlink()
    assert recorded_epochs(killed.directory) == 0
    model, epoch = MIDDLE[killed.kind]
    saved = checkpoint_files(RunDirectory(killed.directory).checkpoint_directory(f"cognate_planner_{model}"))
    assert saved
    assert max(one.epoch for one in saved) >= min(epoch - 2, 2)
    with Run(killed.directory) as run:
        assert {(one.attempt, one.phase) for one in run.snapshot().models} == {(1, "queued")}
    forge("resume", killed.directory)
    assert_as_undisturbed(killed)


def newest(directory: Path) -> list[Path]:
    return [max(path.glob("step-*.safetensors")) for path in (directory / "checkpoints").iterdir()]


def lose(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    """As file systems leave blocks that were never written."""
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("killed", "damage"),
    crossed(KINDS, (lose, empty, zeros), {("halving", lose), ("groups", zeros), ("diverged", zeros)}),
    indirect=["killed"],
)  # fmt: skip
def test_a_newer_database_without_its_newest_checkpoints(killed: Killed, damage: Callable[[Path], None]) -> None:
    killed.again()
    for path in newest(killed.directory):
        damage(path)
    forge("resume", killed.directory)
    assert_as_undisturbed(killed, goes_back=True)


@pytest.mark.parametrize("killed", only("series", "diverged"), indirect=True)
def test_a_newer_database_without_any_checkpoint(killed: Killed) -> None:
    killed.again()
    shutil.rmtree(killed.directory / "checkpoints")
    forge("resume", killed.directory)
    if killed.goes_back:  # the start was trained with a higher learning rate than the one that is recorded
        record = json.loads((killed.directory / "cognate_planner_1.json").read_bytes())
        assert record["exact"] is False
        return
    assert_as_undisturbed(killed, goes_back=True)


def test_checkpoints_newer_than_what_is_recorded_as_finished(tmp_path: Path) -> None:
    """A completed run is trained further when the power is lost: run.db and the models' files are as before."""
    arguments = (*ALWAYS, "--models", "2")
    directory, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    with environment(tmp_path):
        forge(*arguments, "--output", undisturbed)
        forge(*arguments, "--epochs", "8", "--output", directory)
    completed = (directory / "run.db").read_bytes()
    with environment(tmp_path, {1: PACE, 2: {"do": "pace", "seconds": 5.0, "epoch": 20}}):
        front = begin("resume", directory, "--epochs", str(EPOCHS))
        wait_until(
            lambda: len(list(directory.glob("checkpoints/cognate_planner_2/step-*"))) and epochs_of(directory, 2) >= 18,
            "the second model",
        )
    stop_and_kill(directory)
    front.communicate()
    for path in directory.glob("run.db*"):
        path.unlink()
    (directory / "run.db").write_bytes(completed)
    saved = checkpoint_files(RunDirectory(directory).checkpoint_directory("cognate_planner_2"))
    assert saved[0].epoch is not None
    assert saved[0].epoch >= 16
    assert json.loads((directory / "cognate_planner_2.json").read_bytes())["epochs_completed"] == 8
    with environment(tmp_path):
        assert json.loads(forge("status", directory, "--json").stdout)["state"] == "completed"
        assert "there is nothing to resume" in forge("resume", directory, status=2).stderr
        forge("resume", directory, "--epochs", str(EPOCHS))
    assert_as_undisturbed(Killed(directory, directory, undisturbed))
