"""What the runner sends to nodes without the run directory, and what it lets them write there."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forge_tui.engines.ray.outgoing import PIECE_BYTES
from forge_tui.engines.ray.shipping import Shipping
from forge_tui.protocol.job import Job
from forge_tui.runs.layout import RunDirectory
from forge_tui.training.checkpoint import save_checkpoint

MODEL = "cognate_planner_1"


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    found = RunDirectory(tmp_path / "run")
    found.create()
    return found


@pytest.fixture
def job(directory: RunDirectory, make_job: Callable[..., Job]) -> Job:
    return make_job(attempt=2)


def saved(directory: RunDirectory, *places: tuple[int, int]) -> list[str]:
    """Checkpoints (step, attempt) of the model."""
    where = directory.checkpoint_directory(MODEL)
    return [save_checkpoint(where, step, {}, {"step": step, "epoch": step}, attempt).name for step, attempt in places]


def names(directory: RunDirectory) -> list[str]:
    return sorted(path.name for path in directory.checkpoint_directory(MODEL).iterdir())


def piece(name: str, offset: int = 0, **then: Any) -> dict[str, Any]:
    return {"path": f"checkpoints/{MODEL}/{name}", "offset": offset, **then}


def test_a_worker_is_sent_the_checkpoints_that_count_for_its_attempt(directory: RunDirectory, job: Job) -> None:
    one, _late, _future = saved(directory, (10, 1), (30, 1), (10, 3))
    manifest = Shipping(directory.path, 2).manifest([dataclasses.replace(job, inherited_step=20)], [])
    assert [file["path"] for file in manifest["files"]] == [f"checkpoints/{MODEL}/{one}"]


def test_data_is_hashed_again_only_when_it_was_written(directory: RunDirectory, job: Job, tmp_path: Path) -> None:
    data = tmp_path / "t.csv"
    data.write_bytes(b"one")
    shipping = Shipping(directory.path, 2)
    first = shipping.manifest([job], [str(data)])["data"]
    data.write_bytes(b"other")
    second = shipping.manifest([job], [str(data)])["data"]
    assert [first[str(data)], second[str(data)]] == [hashlib.sha256(text).hexdigest() for text in (b"one", b"other")]


def test_a_file_is_given_in_pieces(directory: RunDirectory, tmp_path: Path) -> None:
    content = bytes(range(256)) * (PIECE_BYTES // 256) + b"rest"
    (tmp_path / "d").write_bytes(content)
    shipping = Shipping(directory.path, 2)
    assert shipping.piece(str(tmp_path / "d"), 0, is_data=True) == (content[:PIECE_BYTES], False)
    assert shipping.piece(str(tmp_path / "d"), PIECE_BYTES, is_data=True) == (b"rest", True)


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "code/../../secret"])
def test_nothing_outside_of_the_run_directory_is_given_as_a_file_of_the_run(
    directory: RunDirectory, path: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises(OSError, match="not inside the run directory"):
        Shipping(directory.path, 2).piece(path, 0, is_data=False)


def test_what_a_node_sends_appears_only_when_it_is_whole(directory: RunDirectory, job: Job) -> None:
    shipping, name = Shipping(directory.path, 2), "step-000000000005-attempt-2.safetensors"
    shipping.take(1, [job], piece(name), b"first ")
    assert [found for found in names(directory) if not found.startswith(".")] == []
    shipping.take(1, [job], piece(name, 6, then={}), b"second")
    assert names(directory) == [name]
    assert (directory.checkpoint_directory(MODEL) / name).read_bytes() == b"first second"


def test_what_a_lost_worker_has_sent_in_part_is_removed(directory: RunDirectory, job: Job) -> None:
    shipping = Shipping(directory.path, 2)
    shipping.take(1, [job], piece("step-000000000005-attempt-2.safetensors"), b"first ")
    shipping.take(2, [job], piece("step-000000000006-attempt-2.safetensors"), b"first ")
    shipping.forget(1)
    assert len(names(directory)) == 1
    shipping.forget(2)
    assert names(directory) == []


@pytest.mark.parametrize(
    "path",
    [
        "run.db", "../x", f"checkpoints/{MODEL}/../../run.db", f"checkpoints/{MODEL}/notes.txt",
        "checkpoints/cognate_planner_2/step-000000000005-attempt-2.safetensors",
        f"checkpoints/{MODEL}/step-000000000005-attempt-1.safetensors", f"checkpoints/{MODEL}/result-attempt-3.json",
    ],
)  # fmt: skip
def test_a_node_may_write_nothing_but_files_of_its_attempts(directory: RunDirectory, job: Job, path: str) -> None:
    with pytest.raises(OSError, match="no file of its attempt"):
        Shipping(directory.path, 2).take(1, [job], {"path": path, "offset": 0, "then": {}}, b"x")
    assert [found for found in directory.path.rglob("*") if found.is_file()] == []


def test_a_piece_without_its_beginning_is_refused(directory: RunDirectory, job: Job) -> None:
    with pytest.raises(OSError, match="its beginning is missing"):
        Shipping(directory.path, 2).take(1, [job], piece("step-000000000005-attempt-2.safetensors", 3), b"x")


def test_checkpoints_that_the_node_has_deleted_are_deleted(directory: RunDirectory) -> None:
    old, one, other = saved(directory, (10, 1), (20, 2), (30, 2))
    shipping = Shipping(directory.path, 2)
    shipping.prune(MODEL, [other], 2, at_the_end=False)  # it was sent none of the others
    assert names(directory) == [old, one, other]
    shipping.prune(MODEL, [one, other], 2, at_the_end=False)
    assert names(directory) == [one, other]
    shipping.prune(MODEL, [other], 2, at_the_end=True)
    assert names(directory) == [other]


def test_those_of_a_later_attempt_stay(directory: RunDirectory) -> None:
    kept, later = saved(directory, (30, 2), (20, 3))
    Shipping(directory.path, 2).prune(MODEL, [kept], 2, at_the_end=True)
    assert names(directory) == [later, kept]
