"""A model's files in the run directory: weights, checkpoints, the end of its output. Read in a thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from forge_tui.client.details import read_details
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.model_details import ModelDetails
from forge_tui.runs.checkpoint_files import CheckpointFile, checkpoint_files
from forge_tui.runs.inside import refuse_links
from forge_tui.runs.layout import RunDirectory
from forge_tui.tui.screens.model_output import read_output


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The model's finished files as (path, bytes), its checkpoints, and the last lines of its output.

    `log_is_cut`: there is more above them. `problem` says what could not be read. `details`: where a finished model
    errs.
    """

    finished: tuple[tuple[Path, int], ...] = ()
    checkpoints: tuple[CheckpointFile, ...] = ()
    log: tuple[str, ...] = ()
    log_is_cut: bool = False
    problem: str = ""
    details: ModelDetails = field(default_factory=ModelDetails)


def read_files(directory: RunDirectory, name: str, log: str | None = None) -> ModelFiles:
    """Read the files of the model called `name`, and the log called `log` (by default its own).

    Errors are reported in `problem`, not raised.
    """
    problem = ""
    checkpoints: list[CheckpointFile] = []
    try:
        refuse_links(directory.checkpoint_directory(name), directory.path)
        checkpoints = checkpoint_files(directory.checkpoint_directory(name))
    except RunDirectoryError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{directory.checkpoint_directory(name)} cannot be read: {error.strerror}"
    output = read_output(directory, log or name)
    finished = []
    for path in (directory.weights(name), directory.json(name)):
        try:
            finished.append((path, path.stat().st_size))
        except OSError:
            continue  # not finished yet
    return ModelFiles(
        finished=tuple(finished),
        checkpoints=tuple(checkpoints),
        log=output.lines,
        log_is_cut=output.is_cut,
        problem=problem or output.problem,
        details=read_details(directory, name) if finished else ModelDetails(),
    )
