"""Runs whose data changes: before a resume, between models, before a retry; and what `--accept-changes` does."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from depth import all_but
from running import SMALL, events, forge, weights

from forge_tui import client
from forge_tui.errors import ChangedError
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.reader import RunReader
from forge_tui.runs.store import RunStore

HEADER = "a,b,target"
OTHER = "64 rows as before, but other values or another order"


def rows(count: int = 64) -> list[str]:
    """Two features and noise for a class."""
    return [f"{number * 0.37 % 1:.3f},{number * 0.71 % 1:.3f},{number * 5 % 7 % 2}" for number in range(count)]


def write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")


def info_of(directory: Path) -> RunInfo:
    with contextlib.closing(RunReader(RunDirectory(directory).database)) as reader:
        return reader.info()


def record_of(directory: Path, index: int = 1) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((directory / f"cognate_planner_{index}.json").read_bytes())
    return record


def warnings(output: str, kind: str = "data") -> list[str]:
    told = [line for line in events(output) if line["event"] == "resource_warning"]
    return [line["message"] for line in told if line["kind"] == kind]


# --- before a resume


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one model that has had three epochs, in `run` beside its `data.csv`."""
    where = tmp_path_factory.mktemp("changed")
    write(where / "data.csv", rows())
    forge("--no-ui", *SMALL, "--dataset", "data.csv", "--models", "1", "--epochs", "3", "--output", "run", cwd=where)
    return where


@pytest.fixture
def data(trained: Path) -> Iterator[Path]:
    """The data of that run; afterwards it is as it was."""
    path = trained / "data.csv"
    kept = trained / "kept.csv"
    shutil.copy2(path, kept)
    yield path
    os.replace(kept, path)


def changed_value(lines: list[str]) -> list[str]:
    return ["0.5,0.5,0", *lines[1:]]


def changed_target(lines: list[str]) -> list[str]:
    values, target = lines[9].rsplit(",", 1)
    return [*lines[:9], f"{values},{1 - int(target)}", *lines[10:]]


CHANGES: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "a row more": (lambda lines: [*lines, lines[-1]], "64 rows → 65"),
    "a row less": (lambda lines: lines[:-1], "64 rows → 63"),
    "sorted": (sorted, OTHER),
    "a value": (changed_value, OTHER),
    "a target": (changed_target, OTHER),
}


@pytest.mark.parametrize("change", all_but(("a row less", "sorted", "a target"), CHANGES))
def test_a_resume_with_other_data_is_refused(trained: Path, data: Path, change: str) -> None:
    how, words = CHANGES[change]
    write(data, how(rows()))
    before = {path: path.read_bytes() for path in (trained / "run").rglob("*") if path.suffix in (".json", ".db")}
    said = forge("resume", "run", "--no-ui", "--epochs", "6", cwd=trained, status=2).stderr
    assert f"the data is not what run run was started with: {data}: {words}. Restore it" in said
    assert f"`forge-tui resume {trained / 'run'} --accept-changes`" in said
    assert {path: path.read_bytes() for path in before} == before


def test_python_raises_an_error_of_its_own_for_other_data(trained: Path, data: Path) -> None:
    write(data, [*rows(), rows()[-1]])
    with pytest.raises(ChangedError, match="64 rows → 65"), client.resume(trained / "run", epochs=6):
        pass


def test_a_newer_file_that_is_an_equal_copy_is_the_same_data(trained: Path, data: Path) -> None:
    """Continued to the bytes of a run that nobody disturbed, and exact."""
    shutil.copytree(trained / "run", trained / "copied")
    copy = data.with_name("copy.csv")
    shutil.copy(data, copy)
    os.replace(copy, data)
    data.touch()
    forge("resume", "copied", "--no-ui", "--epochs", "6", cwd=trained)
    assert record_of(trained / "copied")["exact"] is True
    whole = ("--dataset", "data.csv", "--models", "1", "--epochs", "6", "--output", "whole")
    forge("--no-ui", *SMALL, *whole, cwd=trained)
    assert weights(trained / "copied") == weights(trained / "whole")
    assert info_of(trained / "copied").changes_accepted == 0


def test_a_file_as_recorded_is_not_hashed_again(trained: Path, data: Path) -> None:
    """By size, time of change and inode: nothing else could tell that it has been written to here."""
    long_ago = 1_600_000_000_123_456_789
    os.utime(data, ns=(long_ago, long_ago))
    run = ("--dataset", data, "--metric", trained / "net.py:after_validation", "--models", "2", "--epochs", "1")
    (trained / "net.py").write_text(OVERWRITES, encoding="utf-8")
    before = hashlib.sha256(data.read_bytes()).hexdigest()
    forge("--no-ui", *SMALL, *run, "--output", "hashed", cwd=trained)
    forge("resume", "hashed", "--no-ui", "--epochs", "2", cwd=trained)
    assert hashlib.sha256(data.read_bytes()).hexdigest() != before
    assert [record_of(trained / "hashed", index)["data"]["sha256"] for index in (1, 2)] == [before] * 2
    data.touch()
    said = forge("resume", "hashed", "--no-ui", "--epochs", "3", cwd=trained, status=2).stderr
    assert OTHER in said


OVERWRITES = """
import os
from pathlib import Path

DATA = Path(__file__).with_name("data.csv")

def after_validation(outputs, targets):
    before = DATA.stat()
    with DATA.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"1")  # it was 0
    os.utime(DATA, ns=(before.st_atime_ns, before.st_mtime_ns))
    return 0.0
"""


def test_accepted_changes_are_recorded_and_its_models_stay_inexact(trained: Path, data: Path) -> None:
    run = trained / "accepted"
    shutil.copytree(trained / "run", run)
    write(data, [*rows(), rows()[-1]])
    said = forge("resume", run, "--no-ui", "--json", "--epochs", "5", "--accept-changes", cwd=trained).stdout
    (warning,) = warnings(said)
    expected = f"the run continues with other data ({data}: 64 rows → 65), as --accept-changes asks"
    assert warning == f"{expected}: from here on no model is exact"
    assert [line["exact"] for line in events(said) if line["event"] == "model_completed"] == [True, False]
    record, info = record_of(run), info_of(run)
    assert (record["exact"], record["data"]["rows"], info.changes_accepted) == (False, 65, 1)
    assert info.data is not None
    assert record["data"] == {name: info.data[name] for name in ("sha256", "rows", "split_sha256")}
    again = forge("resume", run, "--no-ui", "--json", "--epochs", "7", cwd=trained).stdout
    assert warnings(again) == [warning]  # the one of before
    assert record_of(run)["exact"] is False
    assert info_of(run).changes_accepted == 1
    write(data, rows())
    assert "65 rows → 64" in forge("resume", run, "--no-ui", "--epochs", "9", cwd=trained, status=2).stderr


def test_a_run_without_a_fingerprint_gets_it_when_it_is_resumed(trained: Path, data: Path) -> None:
    """As version 0.1.0 left them: whatever its data is now, it is not refused, and from then on compared."""
    run = trained / "older"
    shutil.copytree(trained / "run", run)
    store = RunStore.open(RunDirectory(run).database)
    store.put_run(dataclasses.replace(info_of(run), data=None, version="0.1.0"))
    assert store.close()
    write(data, rows(70))
    said = forge("resume", run, "--no-ui", "--json", "--epochs", "5", cwd=trained).stdout
    (warning,) = warnings(said)
    assert warning.startswith("forge-tui 0.1.0 did not record which data the run was started with")
    info = info_of(run)
    assert info.data is not None
    assert (info.data["rows"], info.changes_accepted, record_of(run)["exact"]) == (70, 0, True)
    write(data, rows(71))
    assert "70 rows → 71" in forge("resume", run, "--no-ui", "--epochs", "7", cwd=trained, status=2).stderr


def test_a_record_of_data_that_is_none_ends_in_words(trained: Path) -> None:
    run = trained / "damaged"
    shutil.copytree(trained / "run", run)
    store = RunStore.open(RunDirectory(run).database)
    store.put_run(dataclasses.replace(info_of(run), data={"sha256": 5, "rows": None, "split_sha256": {}}))
    assert store.close()
    said = forge("resume", run, "--no-ui", "--epochs", "5", cwd=trained, status=4).stderr
    assert "run.db of run run is damaged (no record of data" in said


# --- while a run is live

NET = """
import os
from pathlib import Path

DATA = Path(__file__).with_name("data.csv")
DONE = Path(__file__).with_name("done")

def trains():
    return any(Path(__file__).parent.glob("*/run.db"))  # not when it is tried before the run

def change():
    if trains() and not DONE.exists():
        DONE.touch()
        lines = DATA.read_text().splitlines()
        DATA.write_text("\\n".join([*lines, lines[-1]]) + "\\n")

def after_validation(outputs, targets):
    change()
    return 0.0

def before_failure(outputs, targets):
    change()
    if trains():
        raise RuntimeError("no luck")
    return 0.0

def rows():
    import csv
    import torch
    with DATA.open(newline="") as file:
        table = [[float(value) for value in line] for line in list(csv.reader(file))[1:]]
    found = torch.tensor(table)
    return found[:, :2], found[:, 2].long()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    write(tmp_path / "data.csv", rows())
    return tmp_path


def failures(output: str) -> list[tuple[int, int, str, bool]]:
    told = [line for line in events(output) if line["event"] == "model_failed"]
    return [(line["index"], line["attempt"], line["kind"], line["will_retry"]) for line in told]


@pytest.mark.parametrize("dataset", ["data.csv", "net.py:rows"])
def test_models_after_a_change_fail_without_a_retry_and_the_others_are_untouched(place: Path, dataset: str) -> None:
    run = ("--dataset", dataset, "--metric", "net.py:after_validation", "--models", "3", "--epochs", "2")
    done = forge("--no-ui", "--json", *SMALL, *run, "--output", "run", cwd=place, status=1)
    assert failures(done.stdout) == [(2, 1, "changed", False), (3, 1, "changed", False)]
    message = next(line["message"] for line in events(done.stdout) if line["event"] == "model_failed")
    source = place / dataset
    assert message.startswith(f"--dataset {source} is not what the run was started with (64 rows → 65): put it back")
    assert [line["index"] for line in events(done.stdout) if line["event"] == "model_completed"] == [1]
    assert record_of(place / "run")["exact"] is True
    assert events(done.stdout)[-1]["status"] == "failed"
    write(place / "data.csv", rows())
    forge("resume", "run", "--no-ui", cwd=place)
    assert len(weights(place / "run")) == 3


def test_a_retry_after_a_change_fails_for_good(place: Path) -> None:
    run = ("--dataset", "data.csv", "--metric", "net.py:before_failure", "--models", "1", "--epochs", "2")
    done = forge("--no-ui", "--json", *SMALL, *run, "--max-retries", "5", "--output", "run", cwd=place, status=1)
    assert failures(done.stdout) == [(1, 1, "exception", True), (1, 2, "changed", False)]


def test_all_models_of_a_group_that_begins_after_a_change_fail(place: Path) -> None:
    run = ("--dataset", "data.csv", "--metric", "net.py:after_validation", "--models", "6", "--epochs", "2")
    groups = ("--mode", "parallel", "--workers", "1", "--fuse", "3")
    done = forge("--no-ui", "--json", *SMALL, *run, *groups, "--output", "run", cwd=place, status=1)
    assert sorted(failures(done.stdout)) == [(index, 1, "changed", False) for index in (4, 5, 6)]
    assert sorted(path.stem for path in (place / "run").glob("*.safetensors")) == [
        f"cognate_planner_{index}" for index in (1, 2, 3)
    ]


# --- sweeps


def test_a_sweep_has_a_fingerprint_of_each_of_its_data(tmp_path: Path) -> None:
    """Of files, of what a function is given, and of the split; only those that differ are kept apart."""
    write(tmp_path / "data.csv", rows())
    write(tmp_path / "more.csv", rows(80))
    sweep = ("--sweep", "training.dataset=data.csv,more.csv", "--sweep", "data.validation_fraction=0.1,0.25",
             "--sweep", "learning_rate=0.001,0.01")  # fmt: skip
    run = tmp_path / "run"
    forge("--no-ui", *SMALL, *sweep, "--models", "1", "--epochs", "2", "--output", run, cwd=tmp_path)
    data = [record_of(run, index)["data"] for index in range(1, 9)]
    assert [one["rows"] for one in data] == [64] * 4 + [80] * 4
    assert [one["sha256"] for one in data] == [data[0]["sha256"]] * 4 + [data[4]["sha256"]] * 4
    assert len({one["split_sha256"] for one in data}) == 4
    recorded = info_of(run).data
    assert recorded is not None
    assert [one["combination"]["data.validation_fraction"] for one in recorded["others"]] == [0.25, 0.1, 0.25]
    write(tmp_path / "more.csv", rows(81))
    said = forge("resume", run, "--no-ui", "--epochs", "4", cwd=tmp_path, status=2).stderr
    assert f"started with: {tmp_path / 'more.csv'}: 80 rows → 81. Restore it" in said
    forge("resume", run, "--no-ui", "--epochs", "3", "--accept-changes", cwd=tmp_path)
    assert record_of(run, 8)["data"]["rows"] == 81


def test_models_of_a_sweep_over_what_a_function_is_given_have_their_own_data(place: Path) -> None:
    (place / "made.py").write_text(
        "import numpy as np\n\n"
        "RNG = np.random.default_rng(3)  # goes on drawing in a second call\n\n"
        "def dataset(samples, shift: float = 0.0):\n"
        "    return RNG.normal(size=(samples, 2)) + shift, np.arange(samples) % 2\n",
        encoding="utf-8",
    )
    sweep = ("--dataset", "made.py", "--sweep", "model.shift=0.0,1.0", "--sweep", "data.samples=30,40")
    forge("--no-ui", *SMALL, *sweep, "--models", "2", "--epochs", "1", "--output", "run", cwd=place)
    data = [record_of(place / "run", index)["data"] for index in range(1, 9)]
    assert [one["rows"] for one in data] == [30, 30, 40, 40] * 2
    assert [data[0], data[2], data[4], data[6]] == [data[1], data[3], data[5], data[7]]
    assert len({one["sha256"] for one in data}) == 4
