"""Files that are written whole: what an error of the disk leaves, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from erring import error_at

from forge_tui.errors import RunDirectoryError
from forge_tui.safe_io import whole_files
from forge_tui.safe_io.whole_files import half_written, write_atomically


def what_fails(write: Callable[[], None]) -> str | None:
    try:
        write()
    except RunDirectoryError as error:
        return str(error)
    return None


def fail(path: Path, *endings: str) -> None:
    """Write a file half."""
    with half_written(path, "-journal") as temporary:
        for ending in ("", *endings):
            Path(f"{temporary}{ending}").write_bytes(b"half")
        raise ValueError("why")


def test_an_error_anywhere_leaves_the_old_content_or_the_new_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    found: dict[str, bytes] = {}
    for number in count(1):
        path.write_bytes(b"old")
        with error_at(number) as failed:
            told = what_fails(lambda: write_atomically(path, b"new"))
        if not failed:
            break
        assert told == f"cannot write {path}: Input/output error"
        assert list(tmp_path.iterdir()) == [path]
        found[failed[0].partition(" ")[0] + str(number)] = path.read_bytes()
    assert found == {"open1": b"old", "fsync2": b"old", "replace3": b"old", "fsync4": b"new"}


def test_what_cannot_be_removed_either_does_not_hide_why_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise OSError(5, "this is not what matters")

    monkeypatch.setattr(whole_files.os, "unlink", refuse)
    with pytest.raises(ValueError, match="why"):
        fail(tmp_path / "file")
    assert len(list(tmp_path.iterdir())) == 1


def test_what_sqlite_has_beside_a_half_written_file_goes_with_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="why"):
        fail(tmp_path / "file", "-journal")
    assert list(tmp_path.iterdir()) == []
