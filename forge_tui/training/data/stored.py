"""Tables on disk: rows are read on demand, so a table may be larger than the memory."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from forge_tui.training.data.fingerprint import file_digest

# Touching a page maps its neighbours too, 64 KiB in total; reading releases the pages after this many bytes.
_TOUCHED_BYTES = 64 << 10
_PIECE_BYTES = 8 << 20


class StoredTable:
    """A table (N, C) of numbers in a file, through a memory map.

    Pages that were read are released: mapped pages count as the process's memory, and a worker would seem to need as
    much as the file's size. They stay in the system's page cache.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int], dtype: np.dtype, offset: int, order: Literal["C", "F"] = "C"
    ) -> None:
        """The numbers begin at byte `offset` of the file, row by row, or column by column (F). Raises `OSError`."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        self._map = mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ)
        self._state = self._file_state()
        self._numbers = np.ndarray(shape, dtype, buffer=self._map, offset=offset, order=order)
        self.rows, self.columns = shape
        row_bytes = 8 * self.columns  # in float64, which means are calculated in
        self._piece_in_order = max(1, _PIECE_BYTES // row_bytes)
        self._piece = max(1, _PIECE_BYTES // max(row_bytes, _TOUCHED_BYTES))

    def in_order(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in pieces, each with the number of its first row; a piece is valid until the next."""
        for start in range(0, self.rows, self._piece_in_order):
            yield start, self._numbers[start : start + self._piece_in_order]
            self._release()

    def whole_column(self, column: int) -> np.ndarray:
        """A column of all rows, in its own type."""
        found = np.empty(self.rows, dtype=self._numbers.dtype.newbyteorder("="))
        for start, piece in self.in_order():
            found[start : start + len(piece)] = piece[:, column]
        return found

    def whole(self, columns: Sequence[int]) -> np.ndarray:
        """All rows of some columns, float32 (rows, columns)."""
        found = np.empty((self.rows, len(columns)), dtype=np.float32)
        for start, piece in self.in_order():
            found[start : start + len(piece)] = piece[:, columns]
        return found

    def read(self, rows: np.ndarray, columns: Sequence[int]) -> np.ndarray:
        """Rows (n,) of some columns, float32 (n, columns)."""
        found = np.empty((len(rows), len(columns)), dtype=np.float32)
        for start in range(0, len(rows), self._piece):
            piece = self._numbers[rows[start : start + self._piece]]
            found[start : start + self._piece] = piece[:, columns]
            self._release()
        return found

    def is_rewritten(self, sha256: str) -> bool:
        """Whether the mapped file was written since it was opened and its SHA-256 has changed.

        A file that has replaced it does not matter. Takes 2 µs if nothing was written.
        """
        state = self._file_state()
        if state == self._state:
            return False
        with open(os.dup(self._fd), "rb") as file:
            file.seek(0)
            if file_digest(file) != sha256:
                return True
        self._state = state
        return False

    def _file_state(self) -> tuple[int, int]:
        found = os.fstat(self._fd)
        return found.st_size, found.st_mtime_ns

    def _release(self) -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


class StoredRows:
    """Rows of a stored table as features, float32 (N, F), read when indexed like a tensor."""

    dtype = torch.float32

    def __init__(
        self,
        table: StoredTable,
        rows: Tensor,
        columns: Sequence[int],
        *,
        device: torch.device | None = None,
        scale: Callable[[Tensor], Tensor] = lambda features: features,
    ) -> None:
        """`rows` (N,) int64 and `columns` are positions in the table, `scale` is applied on `device`."""
        self._table, self._rows, self._columns, self._scale = table, rows, list(columns), scale
        self.device = device or torch.device("cpu")

    @property
    def shape(self) -> tuple[int, int]:
        """(N, F)."""
        return len(self._rows), len(self._columns)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: slice | Tensor) -> Tensor:
        """Read the features (n, F) of a part of the rows."""
        rows = self._rows[places if isinstance(places, slice) else places.cpu()]
        return self._scale(torch.from_numpy(self._table.read(rows.numpy(), self._columns)).to(self.device))

    def is_rewritten(self, sha256: str) -> bool:
        """As `StoredTable.is_rewritten`."""
        return self._table.is_rewritten(sha256)

    def placed(self, device: torch.device, scale: Callable[[Tensor], Tensor]) -> StoredRows:
        """The same rows, on another device and scaled when read."""
        return StoredRows(self._table, self._rows, self._columns, device=device, scale=scale)
