"""Tables of runs that forge-tui 0.1 began are read as it read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars
import pytest

from forge_tui import load_model
from forge_tui.errors import DataError, RunDirectoryError
from forge_tui.protocol.job import Job
from forge_tui.protocol.run_data import Fingerprint
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig
from forge_tui.training.data import Dataset, load_dataset
from forge_tui.training.data.dataset import Task
from forge_tui.training.data.split import split_at_random

ROWS = 60
COLUMNS = {
    "index": list(range(ROWS)),
    "same": [2.5] * ROWS,
    "code": ["007", "07", "7"] * (ROWS // 3),
    "on": [True, False] * (ROWS // 2),
    "real": [0.1 * number for number in range(ROWS)],
}


def load(where: Path, kind: str, target: list[object], version: int | None, **data: object) -> Dataset:
    path = where / f"t.{kind}"
    frame = polars.DataFrame({**COLUMNS, "target": target})
    if kind == "csv":
        frame.write_csv(path)
    else:
        frame.with_columns(polars.col("code").cast(polars.Int64)).write_parquet(path)
    settings = Settings(training=TrainingConfig(dataset=path.name), data=DataSettings(**data), run=RunSettings(seed=3))  # type: ignore[arg-type]
    return load_dataset(settings, where, version=version)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_column_is_a_feature_and_the_split_random(tmp_path: Path, kind: str) -> None:
    found = load(tmp_path, kind, ["a", "b"] * (ROWS // 2), version=1)
    assert found.features == tuple(COLUMNS)
    assert (found.encoder, found.table) == (None, None)
    numbers = [COLUMNS["index"], COLUMNS["same"], [7.0] * ROWS, [1.0, 0.0] * (ROWS // 2), COLUMNS["real"]]
    raw = np.array(numbers, dtype=np.float32).T
    train, validation = split_at_random(ROWS, 0.1, 3)
    np.testing.assert_array_equal(found.train_inputs.numpy(), raw[train])
    np.testing.assert_array_equal(found.validation_inputs.numpy(), raw[validation])
    assert found.split["method"] == "random permutation"
    # Today it is another table.
    assert load(tmp_path, kind, ["a", "b"] * (ROWS // 2), version=None).features != found.features


def test_the_task_is_that_of_then(tmp_path: Path) -> None:
    assert load(tmp_path, "csv", ["true", "false"] * 30, version=1).classes == (False, True)
    assert load(tmp_path, "csv", ["07", "7"] * 30, version=1).classes == (7,)
    assert load(tmp_path, "csv", ["no ", "no"] * 30, version=1).classes == ("no", "no ")
    assert load(tmp_path, "csv", [n * 0.5 for n in range(ROWS)], version=1).task is Task.REGRESSION


def test_what_was_refused_then_has_changed_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,target\n1,0\n,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="other than finite numbers, which it had not when the run began"):
        load_dataset(Settings(training=TrainingConfig(dataset="t.csv")), tmp_path, version=1)


def test_the_version_goes_with_the_fingerprint(tmp_path: Path) -> None:
    old = load(tmp_path, "csv", [0, 1] * 30, version=1).fingerprint
    assert Fingerprint.from_record({**old.to_record(), "version": 1}).version == 1
    record = old.to_record()
    del record["version"]  # as 0.1 wrote it
    known = [Fingerprint.from_record(record)]
    settings = Settings(training=TrainingConfig(dataset="t.csv"), run=RunSettings(seed=3))
    again = load_dataset(settings, tmp_path, known=known)
    assert again.fingerprint.version == old.version
    assert again.fingerprint.is_of_same_data(old)
    assert again.features == tuple(COLUMNS)
    assert load_dataset(settings, tmp_path).fingerprint.version == 2


@pytest.mark.parametrize("what", ["architecture", "encoder"])
def test_a_model_of_a_newer_version_is_not_loaded(
    make_job: Callable[..., Job], train: Callable[[Job], object], what: str
) -> None:
    job = make_job(training={"epochs": 1, "model_size": 1_000})
    train(job)
    path = Path(job.directory) / f"{job.model}.json"
    record = json.loads(path.read_bytes())
    assert (record["architecture"], record["encoder"]) == (1, 1)
    path.write_text(json.dumps({**record, what: 9}), encoding="utf-8")
    with pytest.raises(RunDirectoryError, match=f"has the {what} version 9, and this forge-tui knows up to"):
        load_model(path)
    del record[what]  # as 0.1 wrote it
    path.write_text(json.dumps(record), encoding="utf-8")
    assert load_model(path).training is False
