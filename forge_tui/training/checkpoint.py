"""Checkpoints of one model: one safetensors file each, with a SHA-256 over its content."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from forge_tui.runs.checkpoint_files import NO_FENCE, Fence, checkpoint_files
from forge_tui.runs.inside import IS_LINK, is_file, refuse_links
from forge_tui.runs.names import RESULT, checkpoint_name, original_of, step_and_attempt
from forge_tui.safe_io.whole_files import directory_error
from forge_tui.training.model_place import make_model_directory
from forge_tui.training.tensor_file import Block, DamagedFile, blocks_of, digest, read_tensors, write_tensors

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """The content of a file: `record` (JSON-able: format, model, seed, epoch, step, …) and tensors as `PART/NAME`."""

    path: Path
    record: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def epoch(self) -> int:
        """Complete epochs."""
        return int(self.record["epoch"])

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.record["step"])

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors under `name/`, without that prefix."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


def checkpoint_path(directory: Path, step: int, attempt: int = 1) -> Path:
    """The path of an attempt's checkpoint at `step`."""
    return directory / checkpoint_name(step, attempt)


def save_checkpoint(
    directory: Path, step: int, tensors: Mapping[str, Tensor | Block], record: Mapping[str, Any], attempt: int = 1
) -> Path:
    """Write an attempt's checkpoint atomically; `format` and `sha256` are added to `record`.

    Raises `RunDirectoryError`.
    """
    make_model_directory(directory)
    path = checkpoint_path(directory, step, attempt)
    full = {**record, "format": FORMAT}
    blocks = blocks_of(tensors)
    write_tensors(path, blocks, {**full, "sha256": digest(blocks, full)})
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises `DamagedFile` unless its content matches its SHA-256."""
    if path.is_symlink():
        raise DamagedFile(f"{path} {IS_LINK}")
    tensors, record = read_tensors(path)
    recorded = record.pop("sha256", None)
    if recorded != digest(tensors, record):
        raise DamagedFile(f"{path} is damaged: its content does not match its SHA-256")
    if record.get("format") != FORMAT:
        raise DamagedFile(f"{path} has format {record.get('format')!r}; this version reads format {FORMAT}")
    return Checkpoint(path=path, record=record, tensors=tensors)


def paths(directory: Path, fence: Fence = NO_FENCE) -> list[Path]:
    """The valid attempts' checkpoints of a model, the newest first, not verified. Raises `RunDirectoryError` for links.

    For equal steps the newest attempt's is first.
    """
    found = {name: place for name in _names(directory) if (place := step_and_attempt(name)) and fence.admits(*place)}
    return [directory / name for name in sorted(found, key=found.__getitem__, reverse=True)]


def newest_valid(
    directory: Path,
    warn: Callable[[str], None] = lambda message: None,
    fence: Fence = NO_FENCE,
    verify: Callable[[Checkpoint], None] = lambda found: None,
) -> Checkpoint | None:
    """The newest checkpoint that verifies, or None. `warn` is called with a message about each skipped one.

    `verify` raises `DamagedFile` for a checkpoint that is to be skipped though its own file is intact.
    """
    passed_over: list[str] = []
    found = _first_valid(paths(directory, fence), passed_over, verify)
    consequence = f"continuing from {found.path.name}" if found else "no earlier one verifies: training starts anew"
    for problem in passed_over:
        warn(f"{problem}; {consequence}")
    return found


def newest_common(
    directories: Sequence[Path],
    warn: Callable[[str], None] = lambda message: None,
    fences: Sequence[Fence] | None = None,
) -> list[Checkpoint]:
    """The checkpoints of the newest step that verifies in every directory; empty if there is none."""
    fences = fences or [NO_FENCE] * len(directories)
    if len(directories) == 1:
        single = newest_valid(directories[0], warn, fences[0])
        return [] if single is None else [single]
    passed_over: list[str] = []
    by_step = [_by_step(directory, fence) for directory, fence in zip(directories, fences, strict=True)]
    group: list[Checkpoint] = []
    for step in sorted(set.intersection(*map(set, by_step)), reverse=True):
        group = []
        for files in by_step:
            found = _first_valid(files[step], passed_over)
            if found is None:
                group = []
                break
            group.append(found)
        if group:
            break
    consequence = f"the group continues from step {group[0].step}" if group else "the group starts anew"
    for problem in passed_over:
        warn(f"{problem}; {consequence}")
    return group


def _first_valid(
    files: Iterable[Path], passed_over: list[str], verify: Callable[[Checkpoint], None] = lambda found: None
) -> Checkpoint | None:
    """The first that verifies; `passed_over` gets messages about those before it."""
    for path in files:
        try:
            found = load_checkpoint(path)
            verify(found)
            return found
        except (DamagedFile, OSError) as error:
            passed_over.append(str(error))
    return None


def _by_step(directory: Path, fence: Fence) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    for path in paths(directory, fence):
        found.setdefault(_step(path), []).append(path)
    return found


def discard(directory: Path, step: int, rollbacks: int) -> list[Path]:
    """Delete checkpoints after `step` that were saved before rollback number `rollbacks`; returns them.

    Training diverged from or before these. Raises `RunDirectoryError` if one cannot be deleted.
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
    directory: Path,
    keep: int,
    *,
    before: int = 0,
    warn: Callable[[str], None] = lambda message: None,
    fence: Fence = NO_FENCE,
) -> list[Path]:
    """Delete all but the `keep` newest valid checkpoints, and leftovers of earlier attempts and of interrupted writes;
    returns the paths to delete.

    Those of a step below `before` are kept too. If a later attempt is active, nothing is deleted. Files with other
    names, links and directories stay. `warn` is called with a message about what cannot be deleted. Raises
    `RunDirectoryError` if `directory` is a link, or cannot be listed.
    """
    names = _names(directory)
    places = {name: place for name in names if (place := step_and_attempt(name)) is not None}
    if any(attempt > fence.attempt for _, attempt in places.values()):
        return []
    by_step = _by_step(directory, fence)
    kept = {files[0].name for number, (step, files) in enumerate(by_step.items()) if number < keep or step < before}
    leftovers = [name for name in names if _is_leftover(original_of(name) or name, fence, is_half=name[:1] == ".")]
    gone = [name for name in sorted(places, key=places.__getitem__, reverse=True) if name not in kept]
    deleted = [path for path in (directory / name for name in (*gone, *leftovers)) if is_file(path)]
    for path in deleted:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            warn(
                f"{directory_error(error, 'delete', path)}; it only takes room, and is tried again with the next "
                "checkpoint"
            )
    return deleted


def _is_leftover(original: str, fence: Fence, *, is_half: bool) -> bool:
    """Whether a file is an incomplete checkpoint, or an attempt's result that was never published.

    `original` is its intended name.
    """
    result = RESULT.fullmatch(original)
    if result is not None:
        return int(result[1]) <= fence.attempt
    return is_half and step_and_attempt(original) is not None


def _names(directory: Path) -> list[str]:
    _refuse_links(directory)
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise directory_error(error, "look for checkpoints in", directory) from error


def _refuse_links(directory: Path) -> None:
    """Raise `RunDirectoryError` if a model's directory, or that of all checkpoints, is a link."""
    refuse_links(directory, directory.parent.parent)


def _step(path: Path) -> int:
    place = step_and_attempt(path.name)
    return -1 if place is None else place[0]
