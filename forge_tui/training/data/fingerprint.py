"""The fingerprint of a dataset: SHA-256 of its content and of its split, and how a file is hashed only once.

Content is the bytes of a file, the settings of a generated dataset, or the tensors of a dataset function: shape, type
and values, and the names of classes and tokens. If the function provides the splits, its content is hashed
independently of order, and the split as its parts in order: another split is not other content.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from forge_tui.protocol.run_data import Fingerprint, SourceFile
from forge_tui.tables.parquet_directory import parts_of

if TYPE_CHECKING:
    from forge_tui.training.data.dataset import Dataset

# A file system with a resolution of seconds (FAT: two) gives writes within it the same modification time; the clock of
# others ticks at least every 10 ms.
_COARSE_SECONDS, _FINE_SECONDS = 2.0, 0.1
_PIECE_BYTES = 1 << 20

_Names = Iterable[Any] | None


def split_digest(train: Tensor, validation: Tensor, test: Tensor | None = None) -> str:
    """SHA-256 of the row numbers of the splits, int64 (n,), in order; no or an empty `test` makes no difference."""
    return _digest((train, validation) if test is None or not len(test) else (train, validation, test))


def content_digest(inputs: Tensor, targets: Tensor, *names: _Names) -> str:
    """SHA-256 of samples (N, …) in order; `names` are those of classes and of tokens."""
    return _digest((inputs, targets), names)


def file_state(path: Path) -> SourceFile:
    """The file as it is now, or all the files of a directory of Parquet files. Raises `OSError`."""
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        parts = [os.stat(part) for part in parts_of(path)]
        size, newest = sum(one.st_size for one in parts), max((one.st_mtime_ns for one in parts), default=0)
        return SourceFile(path=str(path), size=size, mtime_ns=newest, inode=found.st_ino)
    return SourceFile(path=str(path), size=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino)


def file_digest(file: io.BufferedReader) -> str:
    """SHA-256 of a file's bytes from its position on: 0.2 s for 100 MB."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def of_file(state: SourceFile, begun: float, dataset: Dataset, known: Sequence[Fingerprint]) -> Fingerprint:
    """The fingerprint of a dataset from a file, hashed unless unchanged since one of `known`. Raises `OSError`.

    `state` is the file's at `begun` (UNIX seconds), before the dataset was read.
    """
    recorded = (one.sha256 for one in known if one.file is not None and one.file.is_untouched(state))
    sha256 = next(recorded, None)
    if sha256 is None:
        sha256 = _content_digest(Path(state.path))
    if not _is_settled(state, begun):
        state = replace(state, mtime_ns=None)
    return _fingerprint(dataset, sha256, _split_of(dataset), file=state)


def with_file(found: Fingerprint, more: Path) -> Fingerprint:
    """Of a dataset from two files: the digest of the second is a part of its split's. Raises `OSError`."""
    digest = hashlib.sha256(f"{found.split_sha256}\n{_content_digest(more)}".encode()).hexdigest()
    return replace(found, split_sha256=digest)


def _content_digest(path: Path) -> str:
    if not path.is_dir():
        with path.open("rb") as file:
            return file_digest(file)
    found = hashlib.sha256()
    for part in parts_of(path):
        with part.open("rb") as file:
            found.update(f"{part.relative_to(path)}\n{file_digest(file)}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def _is_settled(state: SourceFile, now: float) -> bool:
    """Whether a write after `now` (UNIX seconds) certainly changes the file's modification time."""
    assert state.mtime_ns is not None
    is_coarse = state.mtime_ns % 1_000_000_000 == 0
    return now - state.mtime_ns / 1e9 > (_COARSE_SECONDS if is_coarse else _FINE_SECONDS)


def of_settings(values: dict[str, Any], dataset: Dataset) -> Fingerprint:
    """The fingerprint of a dataset generated from `values` (JSON-able) only."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return _fingerprint(dataset, hashlib.sha256(text.encode()).hexdigest(), _split_of(dataset))


def of_tensors(dataset: Dataset, known: Sequence[Fingerprint], threads: int) -> Fingerprint:
    """The fingerprint of a dataset function's result. `threads`: how many it had."""
    if dataset.content_sha256 is not None:
        return _fingerprint(dataset, dataset.content_sha256, _split_of(dataset), threads=threads)
    parts = [part for part in _parts(dataset) if part is not None]
    names = (dataset.classes, dataset.vocabulary)
    split = _digest(parts, names)
    # Parts that are equal in order have equal content.
    recorded = (one.sha256 for one in known if one.split_sha256 == split)
    sha256 = next(recorded, None) or _unordered_digest(parts, names)
    return _fingerprint(dataset, sha256, split, threads=threads)


def _fingerprint(
    dataset: Dataset, sha256: str, split: str, file: SourceFile | None = None, threads: int | None = None
) -> Fingerprint:
    rows = dataset.train_samples + dataset.validation_samples + dataset.test_samples
    return Fingerprint(sha256=sha256, rows=rows, split_sha256=split, file=file, threads=threads)


def _split_of(dataset: Dataset) -> str:
    assert dataset.split_sha256 is not None
    return dataset.split_sha256


def _parts(dataset: Dataset) -> tuple[Tensor | None, ...]:
    """Inputs and targets of the training split, those of the validation split, then of a test split."""
    parts = (
        *(dataset.train_inputs, dataset.train_targets, dataset.validation_inputs, dataset.validation_targets),
        *(dataset.test_inputs, dataset.test_targets),
    )
    assert all(part is None or isinstance(part, Tensor) for part in parts)
    return parts  # type: ignore[return-value]


def _digest(tensors: Iterable[Tensor], names: Iterable[_Names] = ()) -> str:
    found = hashlib.sha256(_named(names))
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().numpy().data)
    return found.hexdigest()


def _named(names: Iterable[_Names]) -> bytes:
    return json.dumps([None if one is None else list(one) for one in names], default=str).encode() + b"\n"


def _unordered_digest(parts: Sequence[Tensor], names: Iterable[_Names]) -> str:
    """SHA-256 of the samples of all parts, independent of order; `parts` are inputs, targets, inputs, targets."""
    found = hashlib.sha256(_named(names))
    for tensor in parts[:2]:
        found.update(f"{tensor.dtype} {tuple(tensor.shape[1:])}\n".encode())
    hashes = [_row_hashes(parts[place : place + 2]) for place in range(0, len(parts), 2)]
    found.update(np.sort(np.concatenate(hashes)).data)
    return found.hexdigest()


def _row_hashes(tensors: Sequence[Tensor]) -> np.ndarray:
    """A 64-bit hash of each sample, uint64 (N,): a sum of its 32-bit words, each with its own factor, mixed.

    0.3 s for 100 MB, where SHA-256 of each sample takes seconds.
    """
    total = np.zeros(len(tensors[0]), dtype=np.uint64)
    first = 1
    for tensor in tensors:
        words = tensor.contiguous().numpy().reshape(len(tensor), -1).view(np.uint32)
        factors = _mixed(np.arange(first, first + words.shape[1], dtype=np.uint64)) | np.uint64(1)
        first += words.shape[1]
        piece = max(1, _PIECE_BYTES // max(1, 4 * words.shape[1]))
        for start in range(0, len(words), piece):
            total[start : start + piece] += words[start : start + piece] @ factors
    return _mixed(total)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Each number (uint64) mixed so that near ones are far apart (splitmix64; Steele, Lea, Flood 2014, figure 15)."""
    values = values * np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed
