"""Checks the declared size of a file's content before unpacking: a few kilobytes may become terabytes."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from forge_tui.errors import DataError
from forge_tui.resources.cgroups import read_limits
from forge_tui.resources.monitor import memory_room
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.safe_io.printing import named
from forge_tui.text.figures import memory


def available() -> int:
    """The memory available now (bytes), within this process's limits."""
    probe = SystemProbe()
    free, _limit = memory_room(probe, read_limits(probe.read))
    return int(free)


def require_memory(size: int, what: str, advice: str) -> None:
    """Raise `DataError` if `what` would take `size` bytes and that much is not available."""
    room = available()
    if size > room:
        raise DataError(f"{what} takes {memory(size)}, and {memory(room)} of memory are available; {advice}")


def check_member(archive: zipfile.ZipFile, member: str, path: Path) -> None:
    """Raise `DataError` unless an array of an .npz archive has the size in its header, and fits into memory.

    Raises `ValueError` for a damaged header, and errors of `zipfile`.
    """
    declared = archive.getinfo(member).file_size
    name = member.removesuffix(".npy")
    with archive.open(member) as file:
        found = _shape_of(file)
        begin = file.tell()
    if found is not None:
        shape, dtype = found
        size = math.prod(shape) * dtype.itemsize
        # Objects have no fixed size; reading refuses them.
        if not dtype.hasobject and begin + size != declared:
            raise DataError(
                f"{named(path)}: array {name!r} says that it has the shape {shape} of {dtype}, which is "
                f"{memory(size)}, and unpacked it has {memory(declared - begin)}; write the file again"
            )
    require_memory(
        declared,
        f"{path}: array {name!r} unpacked",
        "free some, take fewer rows, or save it as .npy, which stays on disk",
    )


def _shape_of(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Shape and type in the header of an array; None for a version that only record arrays have."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        return None
    if any(length < 0 for length in shape):
        raise ValueError(f"its shape is {shape}")
    return shape, dtype
