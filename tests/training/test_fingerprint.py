"""The fingerprint of each kind of dataset: what it tells apart, and when a file is hashed."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import torch
from torch import Tensor

from forge_tui.errors import ChangedError
from forge_tui.protocol.run_data import Fingerprint, difference
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig
from forge_tui.training.data import fingerprint, load_dataset, npy_file
from forge_tui.training.data import split as split_module
from forge_tui.training.data.stored import StoredRows

LONG_AGO = 1_600_000_000_123_456_789


def settings(name: str = "synthetic", *, seed: int = 0, **data: Any) -> Settings:
    return Settings(training=TrainingConfig(dataset=name), data=DataSettings(**data), run=RunSettings(seed=seed))


def table(rows: int = 64) -> np.ndarray:
    """Two features and a class of two."""
    numbers = np.random.default_rng(4).normal(size=(rows, 2)).round(3)
    return np.column_stack((numbers, np.arange(rows) % 2))


def write_csv(path: Path, values: np.ndarray) -> None:
    path.write_text("a,b,target\n" + "".join(f"{a},{b},{int(c)}\n" for a, b, c in values), encoding="utf-8")


def write_parquet(path: Path, values: np.ndarray) -> None:
    polars.DataFrame({"a": values[:, 0], "b": values[:, 1], "target": values[:, 2].astype(int)}).write_parquet(path)


def write_text(path: Path, values: np.ndarray) -> None:
    """64 characters a row, so that a window is one."""
    path.write_text("".join(f"{a:+032.9f}{b:+032.9f}" for a, b, _ in values) + ".", encoding="utf-8")


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "npy": np.save,
    "npz": lambda path, values: np.savez(path, features=values[:, :2], targets=values[:, 2].astype(int)),
    "txt": write_text,
}


def age(path: Path) -> None:
    """The file was last written long ago."""
    os.utime(path, ns=(LONG_AGO, LONG_AGO))


@pytest.fixture(params=WRITERS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"data.{request.param}"
    WRITERS[request.param](path, table())
    age(path)
    return path


def rewrite(path: Path, values: np.ndarray) -> None:
    WRITERS[path.suffix[1:]](path, values)


def of_file(path: Path, *known: Fingerprint) -> Fingerprint:
    found = load_dataset(settings(str(path)), Path("/"), known=known).fingerprint
    assert found is not None
    return found


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read to be hashed."""
    names: list[str] = []
    digest = fingerprint.file_digest

    def counted(file: Any) -> str:
        names.append(file.name)
        return digest(file)

    monkeypatch.setattr(fingerprint, "file_digest", counted)
    return names


# --- files


def test_of_a_file_it_is_of_its_bytes(file: Path) -> None:
    found = of_file(file)
    assert (found.sha256, found.rows) == (hashlib.sha256(file.read_bytes()).hexdigest(), 64)
    state = file.stat()
    assert found.file is not None
    assert (found.file.path, found.file.size, found.file.mtime_ns, found.file.inode) == (
        str(file), state.st_size, LONG_AGO, state.st_ino,
    )  # fmt: skip
    assert found.to_public() == {"sha256": found.sha256, "rows": 64, "split_sha256": found.split_sha256}
    assert Fingerprint.from_record(found.to_record()) == found


def test_a_file_that_is_as_recorded_is_not_hashed_again(file: Path, hashed: list[str]) -> None:
    first = of_file(file)
    assert of_file(file, first) == first
    assert hashed == [str(file)]


def test_a_file_that_was_touched_or_put_in_its_place_is_hashed_again_and_the_same(
    file: Path, hashed: list[str]
) -> None:
    first = of_file(file)
    os.utime(file, ns=(LONG_AGO, LONG_AGO + 1))
    touched = of_file(file, first)
    assert touched.is_of_same_data(first)
    assert touched != first
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    age(copy)
    os.replace(copy, file)
    assert of_file(file, first).is_of_same_data(first)
    assert len(hashed) == 3


def test_of_a_file_written_just_now_the_time_of_change_tells_nothing(tmp_path: Path, hashed: list[str]) -> None:
    """A write in the same tick of the file system's clock would leave it."""
    path = tmp_path / "data.csv"
    write_csv(path, table())
    ahead = path.stat().st_mtime_ns + 3_600 * 10**9
    os.utime(path, ns=(ahead, ahead))
    first = of_file(path)
    assert first.file is not None
    assert first.file.mtime_ns is None
    assert of_file(path, first) == first
    assert len(hashed) == 2


OTHER = "rows as before, but other values or another order"
CHANGES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "a row more": (lambda values: np.concatenate((values, values[-1:])), "64 rows → 65"),
    "a row less": (lambda values: values[1:], "64 rows → 63"),
    "other order": (lambda values: values[::-1], f"64 {OTHER}"),
    "a value": (
        lambda values: values + (values == values[5, 0]),
        f"64 {OTHER}",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_told_apart(file: Path, change: str) -> None:
    first = of_file(file)
    how, words = CHANGES[change]
    rewrite(file, how(table()))
    now = of_file(file, first)
    assert not now.is_of_same_data(first)
    assert difference(first, now) == words


def test_the_target_belongs_to_the_content(tmp_path: Path) -> None:
    path, values = tmp_path / "data.csv", table()
    write_csv(path, values)
    first = of_file(path)
    values[7, 2] = 1 - values[7, 2]
    write_csv(path, values)
    assert difference(first, of_file(path, first)) == f"64 {OTHER}"


def test_the_split_is_apart_from_the_content(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    write_csv(path, table())

    def found(**changes: Any) -> Fingerprint:
        of = load_dataset(settings(str(path), **changes), Path("/")).fingerprint
        assert of is not None
        return of

    first, other, more = found(), found(seed=1), found(validation_fraction=0.3)
    assert first.sha256 == other.sha256 == more.sha256
    assert len({one.split_sha256 for one in (first, other, more)}) == 3
    assert difference(first, other) == "same content, another split"


def test_a_file_that_is_replaced_or_written_to_while_it_is_read_is_noticed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = fingerprint.file_digest

    def meanwhile(given: Any) -> str:
        copy = file.with_name("copy")
        copy.write_bytes(file.read_bytes())
        age(copy)
        os.replace(copy, file)
        return digest(given)

    monkeypatch.setattr(fingerprint, "file_digest", meanwhile)
    with pytest.raises(ChangedError, match=f"{file.name} was changed while it was read; try again"):
        of_file(file)

    def written(given: Any) -> str:
        found = digest(given)
        os.utime(file, ns=(LONG_AGO, next(times)))
        return found

    times = itertools.count(LONG_AGO + 1)

    monkeypatch.setattr(fingerprint, "file_digest", written)
    with pytest.raises(ChangedError, match="was changed while it was read"):
        of_file(file)


def test_a_file_that_is_replaced_once_while_it_is_read_is_read_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the bytes that are hashed are not those of the rows that were read."""
    digest, other = fingerprint.file_digest, file.with_name(f"other{file.suffix}")
    rewrite(other, table(65))
    expected = of_file(other)

    def replaced(given: Any) -> str:
        if other.exists():
            os.replace(other, file)
        return digest(given)

    monkeypatch.setattr(fingerprint, "file_digest", replaced)
    assert of_file(file).is_of_same_data(expected)


def test_rows_that_stay_on_disk_have_the_fingerprint_of_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.npy"
    np.save(path, table())
    kept = of_file(path)
    monkeypatch.setattr(npy_file, "_KEPT_BYTES", 0)
    found = load_dataset(settings(str(path)), Path("/"))
    assert isinstance(found.train_inputs, StoredRows)
    assert found.fingerprint is not None
    assert found.fingerprint.is_of_same_data(kept)


def test_a_table_on_disk_knows_that_it_was_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_file, "_KEPT_BYTES", 0)
    path = tmp_path / "data.npy"
    np.save(path, table())
    age(path)
    found = load_dataset(settings(str(path)), Path("/"))
    rows, sha256 = found.train_inputs, found.fingerprint.sha256  # type: ignore[union-attr]
    assert isinstance(rows, StoredRows)
    assert not rows.is_rewritten(sha256)
    path.touch()
    assert not rows.is_rewritten(sha256)
    os.replace(_copy_of(path), path)  # another file: not the one that is mapped
    assert not rows.is_rewritten(sha256)
    rows = load_dataset(settings(str(path)), Path("/")).train_inputs
    assert isinstance(rows, StoredRows)
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(np.float64(3.0).tobytes())
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    assert rows.is_rewritten(sha256)


def _copy_of(path: Path) -> Path:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    return copy


# --- what is made


def test_made_data_is_what_its_settings_say() -> None:
    def found(name: str, **changes: Any) -> Fingerprint:
        of = load_dataset(settings(name, **changes), Path("/")).fingerprint
        assert of is not None
        return of

    first = found("synthetic", samples=50)
    assert (first.rows, first.file) == (50, None)
    assert found("synthetic", samples=50, normalise=False, prime=7) == first
    for other in ({"samples": 51}, {"samples": 50, "features": 5}, {"samples": 50, "classes": 5}):
        assert found("synthetic", **other).sha256 != first.sha256
    assert found("synthetic", samples=50, seed=1).sha256 != first.sha256
    pairs = found("modular", prime=7)
    assert pairs.sha256 == found("modular", prime=7, seed=1, train_fraction=0.4).sha256
    assert pairs.sha256 != found("modular", prime=7, operation="+").sha256
    assert len({pairs.split_sha256, found("modular", prime=7, seed=1).split_sha256}) == 2


# --- functions

X = torch.arange(60, dtype=torch.float32).view(20, 3).square()
Y = torch.arange(20) % 4


def given(values: Any, *known: Fingerprint) -> Fingerprint:
    found = load_dataset(settings("data.py"), Path("/"), lambda: values, known).fingerprint
    assert found is not None
    return found


def test_of_a_function_it_is_of_what_it_gave() -> None:
    first = given((X, Y))
    assert (first.rows, first.file, first.threads) == (20, None, torch.get_num_threads())
    same: list[Any] = [(X.clone(), Y), (X.numpy(), Y.tolist()), {"inputs": X, "targets": Y}]
    same.append(list(zip(X, Y.tolist(), strict=True)))
    for one in same:
        assert given(one) == first
    changed = X.clone()
    changed[3, 1] += 1
    others: list[tuple[Any, str]] = [
        ((changed, Y), f"20 {OTHER}"),
        ((X, (Y + 1) % 4), f"20 {OTHER}"),
        ((X.flip(0), Y.flip(0)), f"20 {OTHER}"),
        ((X.view(20, 1, 3), Y), f"20 {OTHER}"),
        ({"inputs": X, "targets": Y, "classes": list("abcd")}, f"20 {OTHER}"),
        ((X[1:], Y[1:]), "20 rows → 19"),
    ]
    for one, words in others:
        assert difference(first, given(one)) == words


def parts(order: list[int], samples: Tensor = X) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    train, validation = order[:14], order[14:]
    return samples[train], Y[train], samples[validation], Y[validation]


def test_of_parts_that_a_function_gave_another_split_is_told_from_other_values() -> None:
    first = given(parts(list(range(20))))
    other = given(parts([*range(1, 20), 0]))
    assert other.sha256 == first.sha256
    assert difference(first, other) == "same content, another split"
    assert difference(first, given(parts([1, 0, *range(2, 20)]))) == "same content, another split"
    changed = X.clone()
    changed[19, 2] += 1
    assert given(parts(list(range(20)), changed)).sha256 != first.sha256
    exchanged = X.clone()  # the same numbers, at other samples
    exchanged[[0, 1], 2] = X[[1, 0], 2]
    assert given(parts(list(range(20)), exchanged)).sha256 != first.sha256
    assert difference(first, given(parts(list(range(19))))) == "20 rows → 19"


def test_parts_that_are_as_recorded_are_hashed_in_order_only(monkeypatch: pytest.MonkeyPatch) -> None:
    first = given(parts(list(range(20))))
    monkeypatch.delattr(fingerprint, "_unordered_digest")
    assert given(parts(list(range(20))), first) == first


def test_hashes_of_samples_are_those_of_their_values() -> None:
    table = torch.randn(5_000, 7, generator=torch.Generator().manual_seed(3))
    hashes = fingerprint._row_hashes((table, torch.zeros(5_000, dtype=torch.int64)))
    assert len(np.unique(hashes)) == 5_000
    order = torch.randperm(5_000, generator=torch.Generator().manual_seed(4))
    shuffled = fingerprint._row_hashes((table[order], torch.zeros(5_000, dtype=torch.int64)))
    assert np.array_equal(shuffled, hashes[order.numpy()])


def test_every_generator_is_seeded_with_the_runs_seed_before_a_function_is_called() -> None:
    def drawn() -> tuple[Tensor, Tensor]:
        draws = [*torch.rand(20).tolist(), *np.random.rand(20), *(random.random() for _ in range(20))]
        return torch.tensor(draws).view(20, 3), Y

    def of(seed: int) -> Fingerprint:
        found = load_dataset(settings("data.py", seed=seed), Path("/"), drawn).fingerprint
        assert found is not None
        return found

    first = of(3)
    drawn()
    assert of(3) == first
    assert of(4).sha256 != first.sha256


def test_a_function_has_as_many_threads_as_at_the_start_and_the_process_its_own_again() -> None:
    seen: list[int] = []

    def counted() -> tuple[Tensor, Tensor]:
        seen.append(torch.get_num_threads())
        return X, Y

    load = settings("data.py")
    torch.set_num_threads(2)
    first = load_dataset(load, Path("/"), counted).fingerprint
    assert first is not None
    torch.set_num_threads(1)
    again = load_dataset(load, Path("/"), counted, [first]).fingerprint
    assert (seen, again, torch.get_num_threads()) == ([2, 2], first, 1)


def test_every_kind_of_dataset_says_what_its_split_is(file: Path) -> None:
    """The digest is of row numbers: of a text those of its windows."""
    found = load_dataset(settings(str(file)), Path("/"))
    train = torch.arange(found.train_samples)
    if file.suffix == ".txt":
        expected = fingerprint.split_digest(train, torch.arange(len(train), 64))
    else:
        expected = fingerprint.split_digest(*split_module.split_stratified(torch.arange(64) % 2, 0.1, 0))
    assert found.split_sha256 == expected
