"""What a file says of its size is looked at before it is unpacked. Files here are small: what they say is large."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from forge_tui.errors import DataError
from forge_tui.settings.schema import Settings, TrainingConfig
from forge_tui.tables import compression, declared
from forge_tui.tables.parquet_footer import read_declared
from forge_tui.training.data import load_dataset

ROWS = 30_000


def load(path: Path) -> Any:
    return load_dataset(Settings(training=TrainingConfig(dataset=path.name)), path.parent)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has 64 KiB left."""
    for module in (declared, compression):
        monkeypatch.setattr(module, "available", lambda: 65_536)


def table() -> polars.DataFrame:
    """Equal values: hundreds of kilobytes in memory, and next to nothing in a file."""
    return polars.DataFrame({"x1": [0.5] * ROWS, "x2": [1] * ROWS, "target": ["yes", "no"] * (ROWS // 2)})


def npz(path: Path, **headers: bytes) -> Path:
    """An archive whose array `features` begins with other bytes than `numpy.save` writes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("features", "targets"):
            file = io.BytesIO()
            np.save(file, np.zeros((30, 2)) if name == "features" else np.arange(30) % 3)
            archive.writestr(f"{name}.npy", headers.get(name, b"") + file.getvalue())
    return path


def header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz", ".txt"])
def test_what_does_not_fit_into_memory_is_refused_before_it_is_unpacked(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"data{ending}"
    match ending:
        case ".csv":
            table().write_csv(path)
        case ".parquet":
            table().write_parquet(path)
        case ".npz":
            np.savez_compressed(path, features=np.zeros((ROWS, 2)), targets=np.zeros(ROWS))
        case ".txt":
            path.write_text("some text " * ROWS, encoding="utf-8")
    if ending in (".parquet", ".npz"):
        assert path.stat().st_size < 65_536
    with pytest.raises(DataError, match=r"takes .* and 64.0 KiB of memory are available; free some") as told:
        load(path)
    assert str(path) in str(told.value)


@pytest.mark.parametrize("shape", [(10**12,), (10**9, 10**9), (2**62, 4), (31, 2), (29, 2)])
def test_an_array_that_is_not_as_large_as_its_header_says_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = npz(tmp_path / "data.npz", features=header(shape))
    with pytest.raises(DataError, match="says that it has the shape") as told:
        load(path)
    assert "write the file again" in str(told.value)


@pytest.mark.parametrize("shape", [(-1,), (-2, -3)])
def test_a_negative_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"no readable \.npz archive: its shape is"):
        load(npz(tmp_path / "data.npz", features=header(shape)))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_table_is_refused_while_it_is_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "data.csv.packed.csv"
    path.write_bytes(pack(b"a,target\n" + b"1,2\n" * 100_000))
    assert path.stat().st_size < 65_536
    with pytest.raises(DataError, match=r"unpacked takes more than half of the 64.0 KiB available; free some"):
        load(path)


def test_a_compressed_table_of_unknown_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\x58" + b"a,target\n1,2\n" * 20)
    with pytest.raises(DataError, match=r"is compressed \(zstd\), and its size is unknown; unpack it first"):
        load(path)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "lz4", "uncompressed"])
@pytest.mark.parametrize("groups", [1, 7])
def test_the_footer_of_a_parquet_file_says_its_rows_and_size(tmp_path: Path, compression: Any, groups: int) -> None:
    path = tmp_path / "data.parquet"
    frame = polars.DataFrame({"a": np.arange(ROWS) * 0.1, "text": [str(number) for number in range(ROWS)]})
    frame = frame.with_columns(
        at=polars.lit("2026-01-01").str.to_date(),
        many=polars.lit([1, 2, 3]),
        kind=polars.lit("x").cast(polars.Categorical),
    )
    frame.write_parquet(path, compression=compression, row_group_size=-(-ROWS // groups), metadata={"a": "b" * 1_000})
    with path.open("rb") as file:
        found = read_declared(file)
    assert found.rows == ROWS
    assert ROWS * 8 <= found.uncompressed <= 200 * ROWS


def test_a_damaged_footer_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    table().write_parquet(path)
    whole = path.read_bytes()
    length = int.from_bytes(whole[-8:-4], "little")
    footer = slice(len(whole) - 8 - length, len(whole) - 8)
    cut = [whole[:place] + whole[-8:] for place in range(footer.start, footer.stop, 7)]
    changed = [
        whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        for place in range(footer.start, footer.stop, 3)
    ]
    refused = 0
    for content in (*cut, *changed, b"", b"PAR1", whole[:-4] + b"PARE", whole[:-8] + b"\xff" * 4 + b"PAR1"):
        try:
            found = read_declared(io.BytesIO(content))
            assert 0 <= found.rows < 2**64
        except ValueError:
            refused += 1
    assert refused > len(cut) // 2
