"""The files that the models of a run read, and whether they can be sent to nodes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from forge_tui.errors import UsageError
from forge_tui.protocol.job import Job
from forge_tui.safe_io.printing import escaped, named
from forge_tui.settings.own_names import named_function
from forge_tui.settings.replacement import Trains, what_trains
from forge_tui.settings.schema import Settings


def data_files(settings: Settings) -> list[str]:
    """Those of all models: absolute paths."""
    sets = [settings.training.dataset, *settings.sweep.get("training.dataset", ())]
    return _files(sets, [settings.data.validation])


def data_files_of(jobs: Sequence[Job]) -> list[str]:
    """Those of some models."""
    sets = [job.settings["training"]["dataset"] for job in jobs]
    return _files(sets, [job.settings["data"]["validation"] for job in jobs])


def _files(datasets: Sequence[str], validation: Sequence[str | None]) -> list[str]:
    """`validation` names a column or a file."""
    files = [name for name in datasets if os.path.isabs(name) and named_function(name) is None]
    return sorted({*files, *(name for name in validation if name and os.path.isabs(name) and os.path.isfile(name))})


def require_shippable(settings: Settings) -> None:
    """Raise `UsageError` for what only nodes with a shared run directory can train."""
    if what_trains(settings) is not Trains.MODEL:
        what = "a command" if settings.run.command else f"--train {escaped(settings.training.train)}"
        raise UsageError(
            f"{what} may use any file, and nodes that do not see the run directory have none: put the run directory "
            "(--output) and what it reads where all nodes see it"
        )
    for path in data_files(settings):
        if os.path.isdir(path):
            raise UsageError(
                f"--dataset {named(path)} is a directory, which is not sent to nodes: put it, and the run directory "
                "(--output), where all nodes see it"
            )
