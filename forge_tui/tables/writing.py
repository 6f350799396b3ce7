"""Writes tables some rows at a time: CSV, Parquet or JSON lines, into a file that is whole or absent, or to stdout."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from forge_tui.errors import ForgeError, RunDirectoryError, UsageError
from forge_tui.safe_io.printing import harmless, named
from forge_tui.safe_io.whole_files import directory_error, half_written, sync_directory

if TYPE_CHECKING:
    import polars

OUTPUTS = (".csv", ".parquet", ".jsonl", ".ndjson")
"""The endings of files that are written."""


def require_output(path: Path) -> None:
    """Raise before any work for an output that could not be written: `UsageError`, `RunDirectoryError`."""
    if path.suffix.lower() not in OUTPUTS:
        raise UsageError(f"--output {named(path)}: the name must end in {', '.join(OUTPUTS)}")
    if path.exists() and not path.is_file():
        raise UsageError(f"--output {named(path)} is no file; leave --output out to write CSV to standard output")
    if not path.parent.is_dir():
        raise RunDirectoryError(
            f"cannot write {named(path)}: there is no directory {named(path.parent)}; make it first"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise directory_error(PermissionError(13, os.strerror(13)), "write", path)


def write_file(frames: Iterable[polars.DataFrame], path: Path) -> None:
    """Write frames of the same columns, one at least, one below the other; a file that was there is replaced.

    Until the last one is written `path` is as it was. Raises `RunDirectoryError`, and what `frames` raises.
    """
    write = {".csv": _csv, ".parquet": _parquet}.get(path.suffix.lower(), _json_lines)
    try:
        with half_written(path) as temporary:
            with temporary.open("xb") as file:
                write(frames, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        if isinstance(error, ForgeError):
            raise
        raise directory_error(error, "write", path) from error


def write_to_stdout(frames: Iterable[polars.DataFrame]) -> None:
    """Write frames as CSV in UTF-8, each as soon as it is there; on a terminal without control characters.

    Raises `BrokenPipeError`, `RunDirectoryError` if it cannot be written, and what `frames` raises.
    """
    is_terminal = sys.stdout.isatty()
    for text in _csv_texts(frames):
        try:
            if is_terminal:
                sys.stdout.write(harmless(text.decode()))
            else:
                sys.stdout.flush()
                sys.stdout.buffer.write(text)
                sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            # What is left in the buffer must not be tried again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise directory_error(error, "write", "standard output") from None


def _csv_texts(frames: Iterable[polars.DataFrame]) -> Iterator[bytes]:
    for number, frame in enumerate(frames):
        text = io.BytesIO()
        frame.write_csv(text, include_header=not number)
        yield text.getvalue()


def _csv(frames: Iterable[polars.DataFrame], file: IO[bytes]) -> None:
    file.writelines(_csv_texts(frames))


def _json_lines(frames: Iterable[polars.DataFrame], file: IO[bytes]) -> None:
    for frame in frames:
        text = io.BytesIO()
        frame.write_ndjson(text)
        file.write(text.getvalue())


def _parquet(frames: Iterable[polars.DataFrame], file: IO[bytes]) -> None:
    """By polars, which pulls the frames: it has no writer that takes one after another."""
    import polars
    from polars.io.plugins import register_io_source

    pulled = iter(frames)
    first = next(pulled)
    failed: list[BaseException] = []

    def source(
        columns: list[str] | None, predicate: polars.Expr | None, rows: int | None, batch: int | None
    ) -> Iterator[polars.DataFrame]:
        try:
            yield first
            yield from pulled
        except BaseException as error:  # polars would make an error of its own of it
            failed.append(error)
            raise

    scan: Callable[..., polars.LazyFrame] = register_io_source
    try:
        scan(source, schema=first.schema).sink_parquet(file, maintain_order=True)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        if failed:
            raise failed[0] from None
        raise OSError(None, str(error).strip().partition("\n")[0]) from None
