"""Where a finished model errs, from its NAME.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.model_details import ModelDetails

if TYPE_CHECKING:
    from forge_tui.runs.layout import RunDirectory


def read_details(directory: RunDirectory, name: str) -> ModelDetails:
    """The details of a finished model; empty where there are none, or its file cannot be read. Imports no torch."""
    from forge_tui.training.record_file import read_model_record

    try:
        return ModelDetails.from_record(read_model_record(directory.stem(name)).get("details"))
    except RunDirectoryError:
        return ModelDetails()
