"""Predictions for the rows of a file, some at a time, as frames to be written."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars
from torch import Tensor, nn

from forge_tui.errors import DataError, ForgeError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.endings import TABLES, is_text_table
from forge_tui.tables.header import column_names
from forge_tui.tables.pieces import table_pieces
from forge_tui.tables.read import check_table_file
from forge_tui.tables.table import Table
from forge_tui.training.data.task import Task
from forge_tui.training.prediction.ahead import made_ahead
from forge_tui.training.prediction.array_files import ARRAYS, array_of_file, named_pieces, require_rows, rows_of
from forge_tui.training.prediction.predictions import Description, outputs_of, probabilities
from forge_tui.training.prediction.score import Score

FILES = (*TABLES, *ARRAYS)
"""The endings of files that are predicted for."""
PREDICTION = "prediction"


def check_file(path: Path) -> None:
    """Raise `DataError` for what is no such file."""
    check_table_file(path, FILES)


@dataclass(frozen=True, slots=True, eq=False)
class FilePredictions:
    """The predictions of `module`, which has a `description`, for a file's rows, which are read as `data` says.

    `score` gets the rows whose target is there too. `with_probabilities`: a column per class, too.
    """

    module: nn.Module
    path: Path
    data: DataSettings
    score: Score
    with_probabilities: bool = False

    @property
    def description(self) -> Description:
        """That of the module."""
        found: Description = self.module.description  # type: ignore[assignment]
        return found

    def frames(self) -> Iterator[polars.DataFrame]:
        """A frame for some rows at a time, in their order: the column `prediction`, and those of probabilities.

        More than one target are `prediction_1` and so on. Raises `DataError` with the place in the file, and for one
        without a row.
        """
        self.description.inputs.require_real()
        rows = 0
        try:
            for inputs, table in made_ahead(self._pieces()):
                if not len(inputs):
                    continue
                rows += len(inputs)
                outputs = outputs_of(self.module, inputs)
                if table is not None:
                    self.score.add(table, outputs)
                yield self._frame(outputs)
        except OSError as error:
            if isinstance(error, ForgeError):
                raise
            raise DataError(f"{named(self.path)} cannot be read: {error.strerror or error}") from None
        if not rows:
            raise DataError(f"{named(self.path)} has no rows; there is nothing to predict")

    def _pieces(self) -> Generator[tuple[Tensor, Table | None], None, None]:
        inputs, target = self.description.inputs, self.description.target
        if self.path.suffix.lower() not in ARRAYS:
            wanted = {*inputs.features, *([] if target is None else [target])}
            for table in table_pieces(self.path, self._reading(), wanted, inputs.piece_rows, inputs.plain_numbers):
                yield inputs.of_table(table), table
            return
        array = array_of_file(self.path, self.data)
        require_rows(array, self.path)
        if inputs.features:
            for table in named_pieces(array, self.path, inputs):
                yield inputs.of_table(table), table
            return
        inputs.check_shape(tuple(array.shape))
        for begin, piece in rows_of(array, inputs.piece_rows):
            yield inputs.of_array(piece, begin), None

    def _reading(self) -> DataSettings:
        """How a text is written: as the settings say if it has the columns then, else as is found."""
        if not is_text_table(self.path.name) or set(self.description.inputs.features) <= set(
            column_names(self.path, self.data)
        ):
            return self.data
        return replace(self.data, separator="auto", decimal="auto", header="auto")

    def _frame(self, outputs: Tensor) -> polars.DataFrame:
        found = self.description
        if found.task is Task.REGRESSION:
            values = outputs.flatten(1).numpy()
            width = values.shape[1]
            names = [PREDICTION] if width == 1 else [f"{PREDICTION}_{number}" for number in range(1, width + 1)]
            return polars.DataFrame({name: values[:, place] for place, name in enumerate(names)})
        labels = found.labels
        known = polars.Series(labels.tolist() if labels.dtype != object else [str(label) for label in labels])
        columns = {PREDICTION: known.gather(outputs.argmax(dim=-1).numpy())}
        if self.with_probabilities:
            chances = probabilities(outputs).numpy()
            for place, name in enumerate(class_columns(labels.tolist())):
                columns[name] = polars.Series(chances[:, place])
        return polars.DataFrame(columns)


def class_columns(labels: list[object]) -> list[str]:
    """The name of each class's column: as it is written in CSV, with `_` behind it while another column has it."""
    found: list[str] = []
    for label in labels:
        name = str(label).lower() if isinstance(label, bool) else str(label)
        while name in (PREDICTION, *found):
            name += "_"
        found.append(name)
    return found
