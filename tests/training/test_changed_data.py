"""A trainer that finds other data than its run was started with, and models that continue with other data."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trained import bytes_of, jobs_of, record_of, run

from forge_tui.errors import ChangedError
from forge_tui.protocol.events import EpochFinished, ModelCompleted
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.settings.schema import from_plain
from forge_tui.training import random_state
from forge_tui.training.data import load_dataset, npy_file
from forge_tui.training.model_file import read_weights
from forge_tui.training.own_code import load_own_code
from forge_tui.training.trainer import Trainer

SMALL = {"epochs": 4, "batch_size": 8, "checkpoint_interval": 2}


def table(rows: int = 64, shift: float = 0.0) -> np.ndarray:
    numbers = np.random.default_rng(4).normal(size=(rows, 3)) + shift
    return np.column_stack((numbers, np.arange(rows) % 2))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npy"
    np.save(path, table())
    return path


def recorded(job: Job) -> Job:
    """The job, with the fingerprint of the data as it is."""
    dataset = load_dataset(from_plain(job.settings), Path(job.working_directory))
    assert dataset.fingerprint is not None
    return dataclasses.replace(job, data=dataset.fingerprint.to_record())


def test_name_json_says_which_data_it_was(make_job: Callable[..., Job], data: Path) -> None:
    job = recorded(make_job(training={**SMALL, "dataset": "data.npy"}))
    assert run([job])[0] is Outcome.COMPLETED
    assert job.data is not None
    assert record_of(job)["data"] == {name: job.data[name] for name in ("sha256", "rows", "split_sha256")}
    assert record_of(job)["data"]["rows"] == 64


@pytest.mark.parametrize("models", [1, 3])
def test_other_data_is_not_trained_on(make_job: Callable[..., Job], data: Path, models: int) -> None:
    jobs = [recorded(job) for job in jobs_of(make_job, "run", training={**SMALL, "dataset": "data.npy"})[:models]]
    np.save(data, table(65))
    words = f"--dataset {data} is not what the run was started with (64 rows → 65): put it back as it was and resume"
    with pytest.raises(ChangedError) as error:
        run(jobs)
    assert words in str(error.value)
    assert not list(Path(jobs[0].directory).glob("*.json"))
    np.save(data, table())
    assert run(jobs)[0] is Outcome.COMPLETED


@pytest.mark.parametrize("models", [1, 3])
def test_what_continues_with_accepted_changes_is_not_exact_and_stays_so(
    make_job: Callable[..., Job], stop_after: Any, models: int
) -> None:
    """Also where a later attempt would not know: its checkpoint says so."""
    jobs = jobs_of(make_job, "run", training=SMALL)[:models]
    assert run(jobs, stop_after(20))[0] is Outcome.STOPPED
    accepted = [dataclasses.replace(job, exact=False, attempt=2) for job in jobs]
    assert run(accepted, stop_after(20))[0] is Outcome.STOPPED
    outcome, events = run([dataclasses.replace(job, attempt=3) for job in jobs])
    assert outcome is Outcome.COMPLETED
    assert [event.exact for event in events if isinstance(event, ModelCompleted)] == [False] * models
    assert [record_of(job)["exact"] for job in jobs] == [False] * models
    undisturbed = jobs_of(make_job, "whole", training=SMALL)[:models]
    run(undisturbed)
    assert [record_of(job)["exact"] for job in undisturbed] == [True] * models
    assert bytes_of(jobs) == bytes_of(undisturbed)


def test_a_model_that_begins_with_accepted_changes_is_not_exact(make_job: Callable[..., Job]) -> None:
    job = make_job(training=SMALL, exact=False)
    run([job])
    assert record_of(job)["exact"] is False


def test_a_model_that_continues_with_other_data_says_the_scales_that_it_has(
    make_job: Callable[..., Job], data: Path, stop_after: Any
) -> None:
    """They are those of the data that it began with: its weights are used to them."""
    job = make_job(training={**SMALL, "dataset": "data.npy"})
    run([job], stop_after(12))
    np.save(data, table(shift=5.0))
    run([job])
    weights = read_weights(Path(job.directory) / job.model, record_of(job)["sha256"])
    means = record_of(job)["normalisation"]["feature_mean"]
    assert means == weights["feature_mean"].tolist()
    assert max(means) < 1.0


def test_a_model_that_continues_with_another_table_encodes_it_as_before(
    make_job: Callable[..., Job], data: Path, stop_after: Any
) -> None:
    """Its weights belong to the categories that it began with, whatever the changed table has."""
    path = data.with_name("t.csv")
    kinds = ["x", "y", "z", ""]
    rows = [f"{kinds[n % 4]},{n}.5,{n % 2}\n" for n in range(40)]
    path.write_text("kind,a,target\n" + "".join(rows), encoding="utf-8")
    job = make_job(training={**SMALL, "dataset": "t.csv"})
    assert run([job], stop_after(12))[0] is Outcome.STOPPED
    path.write_text("a,kind,target\n" + "".join(f"{n}.25,{'xw'[n % 2]},{n % 2}\n" for n in range(44)), encoding="utf-8")
    assert run([job])[0] is Outcome.COMPLETED
    record = record_of(job)
    assert record["encoder"] == 2
    kind, a = record["table"]["columns"]
    assert (kind["levels"], kind["missing"], a["indicator"]) == (["x", "y", "z"], True, False)
    assert record["input_shape"] == [5]


# --- files that are written to while their rows are read


class At(Control):
    """Does something before one step, counted from 0."""

    def __init__(self, step: int, then: Callable[[], None]) -> None:
        super().__init__()
        self._left, self._then = step, then

    def may_continue(self) -> bool:
        self._left -= 1
        if self._left == -1:
            self._then()
        return super().may_continue()


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_file, "_KEPT_BYTES", 0)


def write_into(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-40, os.SEEK_END)
        file.write(np.float64(3.0).tobytes())


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("stops", [False, True])
def test_a_file_that_is_written_to_while_a_model_reads_it_ends_the_attempt(
    make_job: Callable[..., Job], data: Path, stops: bool
) -> None:
    """Nothing of the epoch is recorded, and no checkpoint is made of it, even where a stop comes just then."""
    job, events = recorded(make_job(training={**SMALL, "dataset": "data.npy"})), []

    def write() -> None:
        write_into(data)
        if stops:
            control.request_stop()

    control = At(20, write)  # in the third epoch of eight steps each
    with pytest.raises(ChangedError, match=f"{data} was written to while a model was trained on it"):
        Trainer([job], events.append, control).run()
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [1, 2]
    (checkpoint,) = (Path(job.directory) / "checkpoints" / job.model).iterdir()
    assert checkpoint.name == "step-000000000016-attempt-1.safetensors"


@pytest.mark.usefixtures("on_disk")
def test_a_file_that_is_touched_or_replaced_meanwhile_changes_nothing(make_job: Callable[..., Job], data: Path) -> None:
    def replace() -> None:
        data.touch()
        other = data.with_name("other.npy")
        np.save(other, table(65))
        os.replace(other, data)

    job = recorded(make_job(training={**SMALL, "dataset": "data.npy"}))
    assert run([job], At(12, replace))[0] is Outcome.COMPLETED
    np.save(data, table())
    other = recorded(make_job("other", training={**SMALL, "dataset": "data.npy"}))
    run([other])
    assert bytes_of([job]) == bytes_of([other])


# --- functions

DRAWS = """
import random, numpy as np, torch
MADE = torch.randn(40, 3)

def seeded():
    order = list(range(40))
    random.shuffle(order)
    np.random.shuffle(order)
    names = list({f"name {number}" for number in range(40)})
    return MADE[order], [int(name.split()[1]) % 2 for name in names]

def unseeded():
    return np.random.default_rng().normal(size=(40, 3)), [0, 1] * 20

def fails_twice(calls=[]):
    calls.append(1)
    if len(calls) > 1:
        raise RuntimeError("a second call")
    return unseeded()
"""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("unseeded", r"gives other data each time it is called \(40 rows as before, .*default_rng\(seed\)"),
        ("fails_twice", r"is not what the run was started with \(40 rows as before, but other values"),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_seeded_is_told_apart_from_data_that_changed(
    make_job: Callable[..., Job], tmp_path: Path, function: str, words: str
) -> None:
    file = tmp_path / f"{function}.py"
    file.write_text(DRAWS, encoding="utf-8")
    job = make_job(training={**SMALL, "dataset": f"{file}:{function}"})
    other = {"sha256": "0" * 64, "rows": 40, "split_sha256": "0" * 64}
    with pytest.raises(ChangedError, match=words):
        run([dataclasses.replace(job, data=other)])


def test_seeding_before_a_function_leaves_the_models_as_they_are(make_job: Callable[..., Job], tmp_path: Path) -> None:
    """They have the bytes that they have with a function that draws nothing, and gives the same samples."""
    file = tmp_path / "draws.py"
    file.write_text(DRAWS, encoding="utf-8")
    drawn = make_job("drawn", training={**SMALL, "dataset": f"{file}:seeded"}, seed=5)
    own = load_own_code(from_plain(drawn.settings)).dataset
    assert own is not None
    with random_state.kept():
        random_state.seed_everything(0)
        inputs, targets = own()
    np.savez(tmp_path / "kept.npz", inputs=inputs.numpy(), targets=targets)
    kept = tmp_path / "kept.py"
    kept.write_text(
        "import numpy as np\ndef dataset():\n"
        f"    file = np.load({str(tmp_path / 'kept.npz')!r})\n    return file['inputs'], file['targets']\n",
        encoding="utf-8",
    )
    plain = make_job("plain", training={**SMALL, "dataset": f"{kept}:dataset"}, seed=5)
    run([drawn])
    run([plain])
    assert record_of(drawn)["data"] == record_of(plain)["data"]
    assert bytes_of([drawn]) == bytes_of([plain])
