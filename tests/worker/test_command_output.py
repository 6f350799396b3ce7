"""A command's output: lines of any length, the end of it, and the file of reports."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.job import Job
from forge_tui.training.model_place import ModelPlace
from forge_tui.worker.command_output import LONGEST_LINE, Lines, Pipe, Tail
from forge_tui.worker.report_file import ReportFile


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_are_whole_however_they_come(size: int) -> None:
    taken: list[bytes] = []
    lines = Lines(taken.append)
    data = b"one\r\ntwo\n\nthr\xc3\xa9e\nlast"
    for start in range(0, len(data), size):
        lines.feed(data[start : start + size])
    assert taken == [b"one", b"two", b"", b"thr\xc3\xa9e"]
    lines.end()
    assert taken[-1] == b"last"


def test_of_a_very_long_line_the_beginning_is_read() -> None:
    taken: list[bytes] = []
    lines = Lines(taken.append)
    for _ in range(10):
        lines.feed(b"x" * LONGEST_LINE)
    lines.feed(b"\nnext\n")
    assert [len(line) for line in taken] == [LONGEST_LINE, 4]


def test_output_is_passed_on_as_it_is(tmp_path: Path) -> None:
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    tail, taken = Tail(), list[bytes]()
    pipe = Pipe(log, tail, taken.append)
    os.write(pipe.writing, b"a\x1b[31mred\nsecond")
    assert pipe.pump()
    assert not pipe.pump()
    assert not pipe.is_at_end
    pipe.close_writing()
    assert not pipe.pump()
    assert pipe.is_at_end
    pipe.finish()
    os.close(log)
    assert (tmp_path / "log").read_bytes() == b"a\x1b[31mred\nsecond"
    assert taken == [b"a\x1b[31mred", b"second"]
    assert (tail.last_line, tail.bytes) == ("second", 16)


def test_the_end_of_output_begins_with_a_whole_line() -> None:
    tail = Tail()
    assert tail.text is None
    assert tail.last_line is None
    tail.add(b"x" * 5_000 + b"\nlast \x1b[0m one\n \n")
    assert tail.text == "last \x1b[0m one\n "
    assert tail.last_line == "last  [0m one"


@pytest.fixture
def place(make_job: Callable[..., Job], tmp_path: Path) -> ModelPlace:
    (tmp_path / "run").mkdir()
    found = ModelPlace(replace(make_job(), directory=str(tmp_path / "run"), place=None, attempt=2))
    found.own_directory()
    return found


def test_reports_are_read_as_their_lines_are_completed(place: ModelPlace) -> None:
    taken: list[bytes] = []
    file = ReportFile(place, taken.append)
    assert (file.path.name, file.path.stat().st_mode & 0o777) == ("reports-attempt-2.jsonl", 0o600)
    assert not file.read()
    with file.path.open("ab", buffering=0) as appended:
        appended.write(b'{"a": 1}\n{"b"')
        assert file.read()
        assert taken == [b'{"a": 1}']
        appended.write(b": 2}\n")
        file.read()
    assert taken == [b'{"a": 1}', b'{"b": 2}']
    file.path.write_bytes(b"{}\n")  # shorter: it was written anew
    file.read()
    assert taken[2:] == [b"{}"]
    with file.path.open("ab") as appended:
        appended.write(b"no end")
    file.finish()
    assert taken[3:] == [b"no end"]
    file.remove()
    assert os.listdir(place.checkpoints) == ["files"]


def test_the_files_of_earlier_attempts_are_read_in_order_and_removed_at_the_end(place: ModelPlace) -> None:
    for attempt, text in ((1, b"a\nb\n"), (10, b"later\n"), (2, b"ours, anew\n")):
        (place.checkpoints / f"reports-attempt-{attempt}.jsonl").write_bytes(text)
    (place.checkpoints / "notes").touch()
    taken: list[bytes] = []
    file = ReportFile(place, taken.append)
    file.earlier(taken.append)
    assert taken == [b"a", b"b"]
    file.append({"loss": math.nan})
    assert file.read()
    assert taken[2:] == [b'{"loss": NaN}']
    file.finish()
    file.remove()
    assert sorted(os.listdir(place.checkpoints)) == ["files", "notes"]


def test_a_link_in_place_of_the_model_directory_is_not_followed(place: ModelPlace, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    place.checkpoints.rename(elsewhere)
    place.checkpoints.symlink_to(elsewhere)
    with pytest.raises(RunDirectoryError, match="is a symbolic link"):
        place.own_directory()
    with pytest.raises(RunDirectoryError, match="is a symbolic link"):
        ReportFile(place, lambda line: None)
