"""What a resume says of data that has changed, and what it records."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from forge_tui.errors import ChangedError
from forge_tui.protocol.run_data import Fingerprint, RunData, SourceFile
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runner.changes import Changes, compare_data
from forge_tui.settings.schema import Settings, from_plain

FILE = SourceFile(path="/data/a.csv", size=100, mtime_ns=7, inode=5)
FIRST = Fingerprint(sha256="a", rows=64, split_sha256="s", file=FILE)
RUN = Path("/runs/r")


def info(data: RunData | None, version: str = "0.2.0") -> RunInfo:
    return RunInfo(
        run="r", path="/r", mode="series", policy="shared", model_type="planner", models=1, epochs=1, created=0.0,
        version=version, data=None if data is None else data.to_record(),
    )  # fmt: skip


def changed(**values: Any) -> RunData:
    return RunData(dataclasses.replace(FIRST, **values))


def test_the_same_data_is_recorded_as_it_is_now() -> None:
    """A file that was touched need not be hashed by every later worker."""
    now = changed(file=dataclasses.replace(FILE, mtime_ns=8))
    assert compare_data(RUN, info(RunData(FIRST)), Settings(), now, accept=False) == Changes(data=now)
    assert compare_data(RUN, info(RunData(FIRST)), Settings(), now, accept=True).accepted == ()


def test_other_data_is_refused_unless_it_is_accepted() -> None:
    now = changed(rows=65, sha256="b")
    with pytest.raises(ChangedError) as error:
        compare_data(RUN, info(RunData(FIRST)), Settings(), now, accept=False)
    assert str(error.value) == (
        "the data is not what run r was started with: /data/a.csv: 64 rows → 65. Restore it, or continue with "
        "the changed data: `forge-tui resume /runs/r --accept-changes` (its models are then no longer exact)"
    )
    found = compare_data(RUN, info(RunData(FIRST)), Settings(), now, accept=True)
    words = "the run continues with other data (/data/a.csv: 64 rows → 65), as --accept-changes asks"
    assert found == Changes(data=now, accepted=(("data", f"{words}: from here on no model is exact"),))


def test_a_dataset_function_is_named() -> None:
    settings = from_plain({"training": {"dataset": "net.py:rows"}})
    before, now = changed(file=None), changed(file=None, split_sha256="t")
    with pytest.raises(ChangedError, match=r"net\.py:rows: same content, another split"):
        compare_data(RUN, info(before), settings, now, accept=False)


def test_of_a_sweep_each_source_is_named_once_and_a_few_of_many() -> None:
    """Also where the first of a combination has changed back into the others, or apart from them."""
    paths = [f"/data/{name}.csv" for name in "abcde"]
    settings = from_plain({"sweep": {"training.dataset": paths, "data.normalise": [True, False]}})

    def of(rows: int) -> RunData:
        each = [
            ({"training.dataset": path, "data.normalise": normalise},
             dataclasses.replace(FIRST, rows=rows, file=dataclasses.replace(FILE, path=path)))
            for path in paths for normalise in (True, False)
        ]  # fmt: skip
        return RunData.of(each)

    with pytest.raises(ChangedError) as error:
        compare_data(RUN, info(of(64)), settings, of(65), accept=False)
    told = "; ".join(f"{path}: 64 rows → 65" for path in paths[:3])
    assert f"started with: {told} and 2 more. Restore it" in str(error.value)


def test_a_combination_whose_data_became_another_than_the_firsts_is_noticed() -> None:
    settings = from_plain({"sweep": {"data.samples": [10, 20]}})
    one, two = dataclasses.replace(FIRST, file=None), dataclasses.replace(FIRST, file=None, rows=20)
    alike = RunData.of([({"data.samples": 10}, one), ({"data.samples": 20}, one)])
    apart = RunData.of([({"data.samples": 10}, one), ({"data.samples": 20}, two)])
    for before, now, words in ((alike, apart, "64 rows → 20"), (apart, alike, "20 rows → 64")):
        with pytest.raises(ChangedError, match=words):
            compare_data(RUN, info(before), settings, now, accept=False)


@pytest.mark.parametrize(("version", "by"), [("0.1.0", "forge-tui 0.1.0"), ("", "an early version")])
def test_a_run_without_a_record_of_its_data_gets_one(version: str, by: str) -> None:
    found = compare_data(RUN, info(None, version), Settings(), RunData(FIRST), accept=False)
    words = f"{by} did not record which data the run was started with: from here on it is the data of this resume"
    assert found == Changes(data=RunData(FIRST), notices=(("data", words),))
