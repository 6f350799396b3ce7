"""The record of a run's data: of one dataset, and of those of a sweep."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.run_data import Fingerprint, RunData, SourceFile, data_part, difference, recorded_data
from forge_tui.protocol.run_info import RunInfo

FILE = SourceFile(path="/data/a.csv", size=100, mtime_ns=7, inode=5)
FIRST = Fingerprint(sha256="a", rows=64, split_sha256="s", file=FILE)


def changed(**values: Any) -> Fingerprint:
    return dataclasses.replace(FIRST, **values)


def test_only_content_and_split_make_other_data() -> None:
    assert FIRST.is_of_same_data(changed(file=None, threads=3))
    for other in (changed(sha256="b"), changed(rows=65), changed(split_sha256="t")):
        assert not FIRST.is_of_same_data(other)


def test_the_words_say_what_is_other() -> None:
    assert difference(changed(rows=12_345), changed(rows=12_346, sha256="b")) == "12,345 rows → 12,346"
    assert difference(FIRST, changed(sha256="b")) == "64 rows as before, but other values or another order"
    assert difference(FIRST, changed(split_sha256="t")) == "same content, another split"


def test_a_file_is_untouched_where_size_time_and_inode_are_the_same() -> None:
    assert FILE.is_untouched(dataclasses.replace(FILE, path="/elsewhere/a.csv"))
    for other in ({"size": 101}, {"mtime_ns": 8}, {"inode": 6}):
        assert not FILE.is_untouched(dataclasses.replace(FILE, **other))
    unknown = dataclasses.replace(FILE, mtime_ns=None)
    assert not unknown.is_untouched(unknown)


def test_each_combination_finds_the_data_that_it_had() -> None:
    """Those that are as the first are not kept apart, and what does not change data does not count."""
    small, large = changed(rows=10), changed(rows=20)
    combinations: list[dict[str, Any]] = [
        {"data.samples": 64, "model.sizes": (1, 2), "training.learning_rate": 0.1},
        {"data.samples": 10, "model.sizes": (1, 2), "training.learning_rate": 0.1},
        {"data.samples": 10, "model.sizes": (3,), "training.learning_rate": 0.1},
        {"data.samples": 64, "model.sizes": (3,), "training.learning_rate": 0.1},
    ]
    made = RunData.of(zip(combinations, (FIRST, small, large, FIRST), strict=True))
    read = RunData.from_record(json.loads(json.dumps(made.to_record())))
    assert read == made
    found = [read.of_model({**one, "training.learning_rate": 0.2}) for one in combinations]
    assert found == [FIRST, small, large, FIRST]
    assert read.all() == [FIRST, small, large]
    assert [one["combination"] for one in made.to_record()["others"]] == [
        {"data.samples": 10, "model.sizes": [1, 2]}, {"data.samples": 10, "model.sizes": [3]},
    ]  # fmt: skip


def test_without_a_sweep_the_record_is_that_of_the_one_dataset() -> None:
    made = RunData.of([({}, FIRST)])
    assert made.to_record() == FIRST.to_record()
    assert RunData.from_record({**FIRST.to_record(), "of a newer version": 1}) == made
    assert made.of_model({"data.samples": 3}) == FIRST


def test_the_part_of_a_combination_that_may_change_data() -> None:
    given = {"training.dataset": "a.csv", "data.samples": 5, "model.hidden": 3, "training.batch_size": 8}
    assert data_part(given) == {"training.dataset": "a.csv", "data.samples": 5, "model.hidden": 3}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"sha256": "a", "rows": "many", "split_sha256": "s"},
        {"sha256": "a", "rows": None, "split_sha256": "s"},
        {"sha256": "a", "rows": 1, "split_sha256": "s", "file": [1]},
        {"sha256": "a", "rows": 1, "split_sha256": "s", "file": {"path": "a"}},
        {"sha256": "a", "rows": 1, "split_sha256": "s", "others": 5},
        {"sha256": "a", "rows": 1, "split_sha256": "s", "others": [{"combination": 3}]},
    ],
)
def test_a_record_that_is_none_ends_in_words(record: dict[str, Any]) -> None:
    info = RunInfo(
        run="r", path="/r", mode="series", policy="shared", model_type="planner", models=1, epochs=1, created=0.0,
        data=record,
    )  # fmt: skip
    with pytest.raises(RunDirectoryError, match=r"run\.db of run r is damaged"):
        recorded_data(info)
    assert recorded_data(dataclasses.replace(info, data=None)) is None
