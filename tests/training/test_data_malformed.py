"""Files that are no dataset, of every kind: each is told in words, and none is waited for."""

from __future__ import annotations

import os
import random
import socket
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training.data import Dataset, load_dataset

KINDS = (".csv", ".parquet", ".npy", ".npz", ".txt")


def load(path: Path, **data: Any) -> Dataset:
    return load_dataset(Settings(training=TrainingConfig(dataset=path.name), data=DataSettings(**data)), path.parent)


def whole(path: Path) -> Path:
    """A small dataset of the kind that the name ends in."""
    columns = {"x1": [0.5 * number for number in range(30)], "target": [number % 3 for number in range(30)]}
    match path.suffix:
        case ".csv":
            polars.DataFrame(columns).write_csv(path)
        case ".parquet":
            polars.DataFrame(columns).write_parquet(path)
        case ".npy":
            np.save(path, np.column_stack(list(columns.values())))
        case ".npz":
            np.savez(path, features=np.array(columns["x1"])[:, None], targets=np.array(columns["target"]))
        case ".txt":
            path.write_text("some text " * 30, encoding="utf-8")
    return path


def pipe(path: Path) -> None:
    os.mkfifo(path)


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


PLACES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "absent": (lambda path: None, "there is no such file; check the path"),
    "a directory": (Path.mkdir, "is a directory; give a file that ends in .csv"),
    "a pipe": (pipe, "is a pipe, a socket or a device, not a file; save the data as a file"),
    "a socket": (socket_file, "is a pipe, a socket or a device, not a file"),
    "a device": (lambda path: path.symlink_to(os.devnull), "is a pipe, a socket or a device, not a file"),
    "a link to nowhere": (lambda path: path.symlink_to("nowhere"), "there is no such file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "there is no such file"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("make", "words"), PLACES.values(), ids=PLACES.keys())
def test_what_is_no_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, make: Callable[[Path], Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    path = tmp_path / f"data{kind}"
    make(path)
    with pytest.raises(DataError) as told:
        load(path)
    assert f"{path}" in str(told.value)
    assert words in str(told.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("closed", ["file", "directory"])
def test_what_may_not_be_read_is_told(kind: str, closed: str) -> None:
    """Root may read everything, and looks as another user here."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as where:
        os.chmod(where, 0o755)
        path = whole(Path(where) / f"data{kind}")
        os.chmod(path if closed == "file" else where, 0)
        if user == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(DataError) as told:
                load(path)
        finally:
            os.seteuid(user)
            os.chmod(where, 0o700)
    assert str(told.value) == f"--dataset {path} cannot be read: Permission denied; check its permissions"


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_no_file_can_have_are_told(tmp_path: Path, kind: str) -> None:
    for name in ("x" * 300 + kind, f"a\0b{kind}"):
        with pytest.raises(DataError, match=r"cannot be read: File name too long$|there is no such file"):
            load(tmp_path / name)


CONTENTS: dict[str, tuple[str, bytes, str]] = {
    "csv: half of a character": (".csv", "a,target\n1,0\n".encode("utf-16")[:-1], "is no text .*; save it as UTF-8"),
    "csv: zero bytes": (".csv", b"a,target\n1,\0\n2,b\n", "is no text .it has zero bytes.; save it as UTF-8"),
    "csv: a value too many": (".csv", b"a,target\n1,0,7\n2,1\n", "no well-formed CSV file: .*one value per column"),
    "csv: a value too few": (".csv", b"a,b,target\n1\n2,3,1\n", "no well-formed CSV file: row 1 .*has 1 values"),
    "csv: a quote that is not closed": (".csv", b'a,target\n1,"0\n2,1\n', "no well-formed CSV file: "),
    "txt: UTF-16": (".txt", "some text".encode("utf-16"), "is no UTF-8 text .byte 1: "),
    "txt: UTF-16 without a mark": (".txt", "some text".encode("utf-16-le"), "it has zero bytes, as UTF-16 has"),
    "txt: a mark alone": (".txt", b"\xef\xbb\xbf", "holds 0 characters; at least 2"),
    "txt: cut off in a character": (".txt", "naïve é".encode()[:-1], "is no UTF-8 text .byte 8: .*; save it as UTF-8"),
    "txt: something packed": (".txt", b"\x1f\x8b\x08\x00", "is no UTF-8 text"),
    "npz: a .npy file": (".npz", b"\x93NUMPY\x01\x00", "is no readable .npz archive"),
    "npz: text": (".npz", b"a,target\n1,0\n", "is no .*.npz archive"),
    "parquet: a .csv file": (".parquet", b"a,target\n1,0\n" * 9, "is no readable Parquet file: .*; write it again"),
    "npy: a .csv file": (".npy", b"a,target\n1,0\n" * 9, "is not a .npy file; write it with numpy.save"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "content", "words"), CONTENTS.values(), ids=CONTENTS.keys())
def test_malformed_contents_are_told_in_words(tmp_path: Path, kind: str, content: bytes, words: str) -> None:
    path = tmp_path / f"data{kind}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"data\{kind}\b.*{words}"):
        load(path)


@pytest.mark.parametrize("kind", KINDS)
def test_half_of_a_file_is_told_or_is_less_data(tmp_path: Path, kind: str) -> None:
    """A text, and a CSV file cut off in a number, cannot know that they were longer."""
    path = whole(tmp_path / f"data{kind}")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    if kind == ".txt":
        assert load(path).vocabulary is not None
    elif kind == ".csv":
        assert 0 < load(path).train_samples < 27
    else:
        with pytest.raises(DataError, match=rf"data\{kind} is no readable"):
            load(path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_breaks_and_marks_change_no_table(tmp_path: Path, end: str, mark: str) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes((mark + end.join(["a,target", "1.5,x", "2.5,y", ""])).encode())
    found = load(path, validation_fraction=0.0)
    assert (found.features, found.classes, found.train_inputs.tolist()) == (("a",), ("x", "y"), [[1.5], [2.5]])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != ".txt"])
def test_two_rows_of_two_classes_are_enough(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"data{kind}"
    columns = {"x1": [1.5, 2.5], "target": [7, 8]}
    match kind:
        case ".csv":
            polars.DataFrame(columns).write_csv(path)
        case ".parquet":
            polars.DataFrame(columns).write_parquet(path)
        case ".npy":
            np.save(path, np.array([[1.5, 7.0], [2.5, 8.0]]))
        case ".npz":
            np.savez(path, features=np.array([[1.5], [2.5]]), targets=np.array([7, 8]))
    found = load(path)
    assert (found.classes, found.train_samples, found.validation_samples) == ((7, 8), 2, 0)


def test_an_encrypted_archive_is_told(tmp_path: Path) -> None:
    path = whole(tmp_path / "data.npz")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        places = [info.header_offset for info in archive.infolist()]
    for place in places:
        content[place + 6] |= 1  # the flag in each entry's own header
    central = 0
    while (central := content.find(b"PK\x01\x02", central)) >= 0:
        content[central + 8] |= 1  # and in the list of entries
        central += 4
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz is no readable \.npz archive: .*encrypted"):
        load(path)


@pytest.mark.parametrize("kind", [".npz", ".csv", ".txt"])
def test_no_damage_gets_through_as_anything_but_words(tmp_path: Path, kind: str) -> None:
    """The other kinds have such a test of their own."""
    path = whole(tmp_path / f"data{kind}")
    content, dice, told = path.read_bytes(), random.Random(1), 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        try:
            load(path)
        except DataError:
            told += 1
    assert told > 20
