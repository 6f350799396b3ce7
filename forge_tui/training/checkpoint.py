"""Checkpoints of one model: one safetensors file each, with a SHA-256 over all that is in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from forge_tui.runs.checkpoint_files import checkpoint_files
from forge_tui.runs.inside import IS_LINK, is_file, refuse_links
from forge_tui.runs.names import STEP, original_of
from forge_tui.safe_io.whole_files import directory_error
from forge_tui.training.tensor_file import Block, DamagedFile, blocks_of, digest, read_tensors, write_tensors

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """What a file holds: `record` (JSON-able: format, model, seed, epoch, step, …) and tensors as `PART/NAME`."""

    path: Path
    record: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return int(self.record["epoch"])

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.record["step"])

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors under `name/`, without that prefix."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


def checkpoint_path(directory: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies; names sort by step."""
    return directory / f"step-{step:012d}.safetensors"


def save_checkpoint(
    directory: Path, step: int, tensors: Mapping[str, Tensor | Block], record: Mapping[str, Any]
) -> Path:
    """Write a checkpoint, whole or not at all; `format` and `sha256` are added to `record`.

    `directory` and the one above are made if need be, but no run directory: one that was moved or deleted is not made
    anew. Raises `RunDirectoryError`.
    """
    _refuse_links(directory)
    try:
        for path in (directory.parent, directory):
            path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise directory_error(error, "create the directory", directory) from error
    path = checkpoint_path(directory, step)
    full = {**record, "format": FORMAT}
    blocks = blocks_of(tensors)
    write_tensors(path, blocks, {**full, "sha256": digest(blocks, full)})
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises `DamagedFile` unless every byte of its content is as it was written."""
    if path.is_symlink():
        raise DamagedFile(f"{path} {IS_LINK}")
    tensors, record = read_tensors(path)
    told = record.pop("sha256", None)
    if told != digest(tensors, record):
        raise DamagedFile(f"{path} is damaged: its content does not match its SHA-256")
    if record.get("format") != FORMAT:
        raise DamagedFile(f"{path} has format {record.get('format')!r}; this version reads format {FORMAT}")
    return Checkpoint(path=path, record=record, tensors=tensors)


def paths(directory: Path) -> list[Path]:
    """The checkpoints of a model, the newest first; not verified. Raises `RunDirectoryError` for a link."""
    return sorted((directory / name for name in _names(directory) if STEP.fullmatch(name)), key=_step, reverse=True)


def newest_valid(directory: Path, warn: Callable[[str], None] = lambda message: None) -> Checkpoint | None:
    """The newest checkpoint that verifies, or None. `warn` is called with words of each one that was passed over."""
    passed_over: list[str] = []
    found = None
    for path in paths(directory):
        try:
            found = load_checkpoint(path)
            break
        except (DamagedFile, OSError) as error:
            passed_over.append(str(error))
    going_on = f"going on from {found.path.name}" if found else "no earlier one verifies: training starts anew"
    for problem in passed_over:
        warn(f"{problem}; {going_on}")
    return found


def newest_common(directories: Sequence[Path], warn: Callable[[str], None] = lambda message: None) -> list[Checkpoint]:
    """The checkpoints of the newest step that verifies in every directory; empty where there is no such step."""
    if len(directories) == 1:
        found = newest_valid(directories[0], warn)
        return [] if found is None else [found]
    passed_over: list[str] = []
    steps = set.intersection(*({_step(path) for path in paths(directory)} for directory in directories))
    group: list[Checkpoint] = []
    for step in sorted(steps, reverse=True):
        try:
            group = [load_checkpoint(checkpoint_path(directory, step)) for directory in directories]
            break
        except (DamagedFile, OSError) as error:
            passed_over.append(str(error))
    going_on = f"the group goes on from step {group[0].step}" if group else "the group starts anew"
    for problem in passed_over:
        warn(f"{problem}; {going_on}")
    return group


def discard(directory: Path, step: int, rollbacks: int) -> list[Path]:
    """Delete the checkpoints after `step` that were saved before the model had gone back so often; returns them.

    Training diverged from those, or on the way to them. Raises `RunDirectoryError` where one cannot be deleted.
    """
    _refuse_links(directory)
    files = [one for one in checkpoint_files(directory) if one.rollbacks < rollbacks]
    deleted = [one.path for one in files if _step(one.path) > step]
    for path in deleted:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise directory_error(error, "delete", path) from error
    return deleted


def prune(
    directory: Path, keep: int, *, before: int = 0, warn: Callable[[str], None] = lambda message: None
) -> list[Path]:
    """Delete all but the `keep` newest checkpoints, and leftovers of interrupted writes; returns what was to go.

    Those of a step below `before` are kept too. Files of other names, links and directories stay. `warn` is called with
    words of what cannot be deleted. Raises `RunDirectoryError` where `directory` is a link, or cannot be listed.
    """
    deleted = [path for path in paths(directory)[keep:] if _step(path) >= before and is_file(path)]
    leftovers = [name for name in _names(directory) if STEP.fullmatch(original_of(name) or "")]
    deleted += [path for path in (directory / name for name in leftovers) if is_file(path)]
    for path in deleted:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            warn(
                f"{directory_error(error, 'delete', path)}; it only takes room, and is tried again with the next "
                "checkpoint"
            )
    return deleted


def _names(directory: Path) -> list[str]:
    _refuse_links(directory)
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise directory_error(error, "look for checkpoints in", directory) from error


def _refuse_links(directory: Path) -> None:
    """Neither a model's directory nor that of all checkpoints may lead out of the run."""
    refuse_links(directory, directory.parent.parent)


def _step(path: Path) -> int:
    match = STEP.fullmatch(path.name)
    return int(match[1]) if match else -1
