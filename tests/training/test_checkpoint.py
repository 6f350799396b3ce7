from __future__ import annotations

from pathlib import Path

import pytest
import torch
from erring import error_at

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.checkpoint_files import Fence, newest_attempt, saved_in
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training.tensor_file import DamagedFile


def save(directory: Path, step: int, value: float = 1.0, attempt: int = 1) -> Path:
    tensors = {"weights/a": torch.full((3, 2), value), "optimizer/0.step": torch.tensor(float(step))}
    record = {"epoch": step // 10, "step": step, "loss": 0.1 + 0.2}
    return checkpoints.save_checkpoint(directory, step, tensors, record, attempt)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    found = checkpoints.load_checkpoint(save(tmp_path, 25, value=7.0))
    assert (found.epoch, found.step, found.record["loss"]) == (2, 25, 0.1 + 0.2)
    assert found.part("weights")["a"].tolist() == [[7.0, 7.0]] * 3
    assert found.part("optimizer")["0.step"].item() == 25.0
    assert found.path.stat().st_mode & 0o777 == 0o600


def test_names_sort_by_step_and_the_newest_is_used(tmp_path: Path) -> None:
    for step in (9, 1_000, 80):
        save(tmp_path, step)
    assert [path.name for path in checkpoints.paths(tmp_path)] == sorted(
        (path.name for path in tmp_path.iterdir()), reverse=True
    )
    found = checkpoints.newest_valid(tmp_path)
    assert found is not None
    assert found.step == 1_000


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    assert save(tmp_path / "a", 5).read_bytes() == save(tmp_path / "b", 5).read_bytes()


def test_prune_keeps_the_newest_and_removes_leftovers(tmp_path: Path) -> None:
    for step in range(1, 6):
        save(tmp_path, step)
    (tmp_path / ".step-000000000006-attempt-1.safetensors.1234abcd.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("the user's own")
    checkpoints.prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "notes.txt",
        "step-000000000004-attempt-1.safetensors",
        "step-000000000005-attempt-1.safetensors",
    ]


def test_checkpoints_that_cannot_be_deleted_are_told_and_hold_up_nothing(tmp_path: Path) -> None:
    for step in range(1, 5):
        save(tmp_path, step)
    told: list[str] = []
    with error_at(1):
        checkpoints.prune(tmp_path, 2, warn=told.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:012d}-attempt-1.safetensors" for step in (2, 3, 4)
    ]  # fmt: skip
    assert told == [
        f"cannot delete {checkpoints.checkpoint_path(tmp_path, 2)}: Input/output error; it only takes room, and is "
        "tried again with the next checkpoint"
    ]
    checkpoints.prune(tmp_path, 2, warn=told.append)
    assert len(told) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """A flip either makes the file invalid or leaves every number in it as it was."""
    path = save(tmp_path, 3)
    original, sound = path.read_bytes(), checkpoints.load_checkpoint(path)
    noticed = 0
    for position in range(len(original)):
        damaged = bytearray(original)
        damaged[position] ^= 0x04
        path.write_bytes(damaged)
        try:
            found = checkpoints.load_checkpoint(path)
        except DamagedFile:
            noticed += 1
            continue
        assert found.record == sound.record, position
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in sound.tensors.items()), position
    assert noticed >= len(original) - 8  # padding spaces at the end of the header hold nothing


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_newest_is_passed_over_with_a_warning(tmp_path: Path, share: float) -> None:
    save(tmp_path, 10, value=1.0)
    newest = save(tmp_path, 20, value=2.0)
    data = newest.read_bytes()
    newest.write_bytes(data[: int(share * len(data))])
    warnings: list[str] = []
    found = checkpoints.newest_valid(tmp_path, warnings.append)
    assert found is not None
    assert found.step == 10
    assert len(warnings) == 1
    assert str(newest) in warnings[0]
    assert "continuing from step-000000000010-attempt-1.safetensors" in warnings[0]


def test_nothing_valid_is_none_and_said(tmp_path: Path) -> None:
    assert checkpoints.newest_valid(tmp_path / "absent") is None
    save(tmp_path, 1).write_bytes(b"\x80\x04pickle")
    warnings: list[str] = []
    assert checkpoints.newest_valid(tmp_path, warnings.append) is None
    assert "training starts anew" in warnings[0]


def test_a_newer_format_is_not_guessed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "FORMAT", 2)
    path = save(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(DamagedFile, match="format 2"):
        checkpoints.load_checkpoint(path)


def test_pruning_touches_files_of_its_own_names_only(tmp_path: Path) -> None:
    directory, outside = tmp_path / "checkpoints" / "m", tmp_path / "outside"
    for step in (5, 6, 7, 8):
        save(directory, step)
    outside.mkdir()
    (outside / "mine").write_text("mine")
    others = {".step-mine.tmp", ".mine.0123abcd.tmp", "step-1.safetensors", "step-000000000001.safetensors.bak"}
    for name in others:
        (directory / name).write_text("mine")
    (directory / "step-000000000002-attempt-1.safetensors").mkdir()
    (directory / "step-000000000003-attempt-1.safetensors").symlink_to(outside / "mine")
    deleted = checkpoints.prune(directory, 2)
    assert sorted(path.name for path in deleted) == [
        "step-000000000005-attempt-1.safetensors", "step-000000000006-attempt-1.safetensors",
    ]  # fmt: skip
    assert {path.name for path in directory.iterdir()} >= others | {"step-000000000002-attempt-1.safetensors"}
    assert (directory / "step-000000000003-attempt-1.safetensors").is_symlink()
    assert (outside / "mine").read_text() == "mine"


@pytest.mark.parametrize("linked", ["checkpoints", "checkpoints/m"])
def test_checkpoints_are_neither_written_read_nor_pruned_out_of_the_run(linked: str, tmp_path: Path) -> None:
    outside, directory = tmp_path / "outside", tmp_path / "run" / "checkpoints" / "m"
    outside.mkdir()
    for step in (1, 2, 3):
        save(outside / "checkpoints" / "m", step)
    link = tmp_path / "run" / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(outside / linked)
    before = {path: path.read_bytes() for path in outside.rglob("*.safetensors")}
    for use in (
        lambda: save(directory, 4),
        lambda: checkpoints.newest_valid(directory),
        lambda: checkpoints.newest_common([directory, directory]),
        lambda: checkpoints.prune(directory, 1),
    ):
        with pytest.raises(RunDirectoryError, match=f"{link} is a symbolic link"):
            use()
    assert {path: path.read_bytes() for path in outside.rglob("*.safetensors")} == before


def test_a_checkpoint_that_is_a_link_is_passed_over(tmp_path: Path) -> None:
    elsewhere = save(tmp_path / "outside", 9)
    save(tmp_path / "m", 5)
    (tmp_path / "m" / elsewhere.name).symlink_to(elsewhere)
    told: list[str] = []
    found = checkpoints.newest_valid(tmp_path / "m", told.append)
    assert found is not None
    assert found.step == 5
    (warning,) = told
    assert "is a symbolic link" in warning


# --- attempts


def names(paths: list[Path]) -> list[str]:
    return [path.name.removesuffix(".safetensors") for path in paths]


def test_an_attempt_takes_its_own_checkpoints_and_earlier_ones_up_to_where_it_began(tmp_path: Path) -> None:
    for step, attempt in ((10, 1), (20, 1), (30, 1), (20, 2), (25, 2), (40, 3)):
        save(tmp_path, step, attempt=attempt)
    second = Fence(2, 20)
    assert names(checkpoints.paths(tmp_path, second)) == [
        "step-000000000025-attempt-2", "step-000000000020-attempt-2", "step-000000000020-attempt-1",
        "step-000000000010-attempt-1",
    ]  # fmt: skip
    found = checkpoints.newest_valid(tmp_path, fence=second)
    assert found is not None
    assert found.step == 25
    assert [one.step for one in saved_in(tmp_path, second)] == [25, 20, 20, 10]
    assert checkpoints.paths(tmp_path, Fence(1))[0].name == "step-000000000030-attempt-1.safetensors"
    assert newest_attempt(tmp_path) == 3


def test_checkpoints_of_version_0_1_0_count_for_every_attempt(tmp_path: Path) -> None:
    save(tmp_path, 10).rename(tmp_path / "step-000000000010.safetensors")
    save(tmp_path, 20).rename(tmp_path / "step-000000000020.safetensors")
    assert newest_attempt(tmp_path) == 0
    found = checkpoints.newest_valid(tmp_path, fence=Fence(1))
    assert found is not None
    assert found.step == 20
    save(tmp_path, 30, attempt=1)
    checkpoints.prune(tmp_path, 2, fence=Fence(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-000000000020.safetensors", "step-000000000030-attempt-1.safetensors",
    ]  # fmt: skip


def test_an_attempt_deletes_what_older_ones_left_and_nothing_once_a_later_one_is_at_work(tmp_path: Path) -> None:
    for step, attempt in ((10, 1), (20, 1), (30, 1), (30, 2)):
        save(tmp_path, step, attempt=attempt)
    for name in ("result-attempt-1.json", "result-attempt-3.json", ".result-attempt-1.json.0123abcd.tmp"):
        (tmp_path / name).write_bytes(b"")
    assert checkpoints.prune(tmp_path, 1, fence=Fence(1)) == []
    checkpoints.prune(tmp_path, 2, fence=Fence(2, 20))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "result-attempt-3.json", "step-000000000020-attempt-1.safetensors", "step-000000000030-attempt-2.safetensors",
    ]  # fmt: skip


def test_of_a_group_each_step_is_taken_from_the_newest_attempt_that_verifies(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        save(directory, 10, attempt=1)
        save(directory, 20, attempt=1)
    save(one, 30, attempt=1)  # late
    save(other, 30, attempt=2)
    save(one, 20, attempt=2).write_bytes(b"damaged")
    told: list[str] = []
    found = checkpoints.newest_common([one, other], told.append, [Fence(2, 20), Fence(3, None)])
    assert [path.path.name for path in found] == ["step-000000000020-attempt-1.safetensors"] * 2
    assert len(told) == 1
    assert "the group continues from step 20" in told[0]
