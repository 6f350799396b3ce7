"""Files as they are unpacked: a few kilobytes may become terabytes, so the memory is checked meanwhile."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from forge_tui.errors import DataError, ForgeError
from forge_tui.safe_io.printing import named
from forge_tui.tables.declared import available, require_memory
from forge_tui.text.figures import memory

_PIECE_BYTES = 16 << 20
# By what a file begins with: its name may not tell. No text begins with one of these.
_MARKS = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\x00": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
_OPEN: dict[str, Callable[[IO[bytes]], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_ADVICE = "free some, or save it as .npy, which stays on disk"


def read_content(path: Path) -> bytes:
    """The bytes of a file, unpacked if it is compressed. Raises `DataError` if they take too much memory, `OSError`."""
    require_memory(path.stat().st_size, f"{path} as a table", _ADVICE)
    content = path.read_bytes()
    kind = next((kind for mark, kind in _MARKS.items() if content.startswith(mark)), None)
    if kind is None:
        return content
    if kind == ".zst":
        return _unpack_zstandard(content, path)
    try:
        return _unpack(content, kind, path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{named(path)} cannot be unpacked ({kind[1:]}: {error}); write it again") from None


def read_beginning(path: Path, most: int) -> bytes:
    """At most `most` unpacked bytes of a file. Raises `DataError`, `OSError`."""
    with path.open("rb") as file:
        beginning = file.read(6)
        file.seek(0)
        kind = next((kind for mark, kind in _MARKS.items() if beginning.startswith(mark)), None)
        if kind is None or kind not in _OPEN:
            return file.read(most)
        try:
            with _OPEN[kind](file) as unpacked:
                found: bytes = unpacked.read(most)
                return found
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise DataError(f"{named(path)} cannot be unpacked ({kind[1:]}: {error}); write it again") from None


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes] | None]:
    """A file's content, unpacked as it is read; None for Zstandard, which only the whole of it is.

    Raises `DataError` while it is read if it is damaged, `OSError`.
    """
    with path.open("rb") as file:
        beginning = file.read(6)
        file.seek(0)
        kind = next((kind for mark, kind in _MARKS.items() if beginning.startswith(mark)), None)
        if kind is None or kind not in _OPEN:
            yield None if kind else file
            return
        try:
            with _OPEN[kind](file) as unpacked:
                yield unpacked
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, ForgeError):
                raise
            raise DataError(f"{named(path)} cannot be unpacked ({kind[1:]}: {error}); write it again") from None


def _unpack(content: bytes, kind: str, path: Path) -> bytes:
    room, found = available(), io.BytesIO()
    with _OPEN[kind](io.BytesIO(content)) as file:
        while piece := file.read(_PIECE_BYTES):
            found.write(piece)
            if 2 * found.tell() > room:
                raise DataError(f"{path} unpacked takes more than half of the {memory(room)} available; {_ADVICE}")
    return found.getvalue()


def _unpack_zstandard(content: bytes, path: Path) -> bytes:
    """Unpacked by polars, line by line: Python has no Zstandard before 3.14."""
    import polars

    size = _declared_size(content)
    if size is None:
        raise DataError(f"{named(path)} is compressed (zstd), and its size is unknown; unpack it first: zstd -d FILE")
    require_memory(2 * size, f"{path} unpacked", _ADVICE)
    try:
        lines = polars.read_csv(
            content, has_header=False, separator="\x1e", quote_char=None, schema={"0": polars.String}
        ).to_series()
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{named(path)} cannot be unpacked (zstd: {reason}); write it again, as UTF-8") from None
    return "\n".join(lines.fill_null("").to_list()).encode()


def _declared_size(content: bytes) -> int | None:
    """The unpacked size in the header of a Zstandard frame (RFC 8878, section 3.1.1.1); None if it has none."""
    descriptor = content[4]
    single, flag = descriptor >> 5 & 1, descriptor >> 6
    begin = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    width = (1 if single else 0, 2, 4, 8)[flag]
    field = content[begin : begin + width]
    if not width or len(field) < width:
        return None
    return int.from_bytes(field, "little") + (256 if width == 2 else 0)
