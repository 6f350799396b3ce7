"""A finished model's files, from the names of the attempt that wrote them to their final ones.

An attempt writes them beside its checkpoints, and only the runner renames them: an attempt that it has given up, such
as one on a node that was cut off, cannot replace what a later one has finished.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.names import CHECKPOINTS, result_names
from forge_tui.safe_io.whole_files import directory_error, sync_descriptor

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Result:
    """The files of a model (by its NAME) that an attempt has written whole; `has_weights`: not only the metadata."""

    name: str
    attempt: int
    has_weights: bool = True


def publish(run: int, results: Iterable[Result]) -> dict[Result, RunDirectoryError]:
    """Give results their final names in the run directory with the descriptor `run`; those that could not be, and why.

    First all weights, then the metadata that says they are complete. A kill at any instant leaves old files, new ones,
    or weights that do not match their metadata: such a model is finished again from its last checkpoint.
    """
    left, failed = list(results), dict[Result, RunDirectoryError]()
    for part in (0, 1):
        renamed = []
        for result in left:
            try:
                if part == 0 and not result.has_weights:
                    _remove_weights(run, result)
                else:
                    _rename(run, result, part)
                renamed.append(result)
            except OSError as error:
                failed[result] = directory_error(error, "give its final name to", _final_names(result.name)[part])
        try:
            sync_descriptor(run)
        except OSError as error:
            failed |= {one: directory_error(error, "write", _final_names(one.name)[part]) for one in renamed}
            break
        left = renamed
    return failed


def _final_names(name: str) -> tuple[str, str]:
    return f"{name}.safetensors", f"{name}.json"


def _remove_weights(run: int, result: Result) -> None:
    """Weights of an earlier end of the model, which has none now."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_final_names(result.name)[0], dir_fd=run)


def _rename(run: int, result: Result, part: int) -> None:
    source, final = result_names(result.attempt)[part], _final_names(result.name)[part]
    checkpoints = os.open(CHECKPOINTS, _OPEN, dir_fd=run)
    try:
        directory = os.open(result.name, _OPEN, dir_fd=checkpoints)
    finally:
        os.close(checkpoints)
    try:
        os.rename(source, final, src_dir_fd=directory, dst_dir_fd=run)
    finally:
        os.close(directory)
