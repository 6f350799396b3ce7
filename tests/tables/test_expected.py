"""Small tables of every usual kind: each is read as `expected.csv` says, or refused."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.read import read_table
from forge_tui.tables.study import study

TABLES = Path(__file__).parents[1] / "fixtures" / "tables"
with (TABLES / "expected.csv").open(encoding="utf-8", newline="") as file:
    EXPECTED = list(csv.DictReader(file))
REFUSED = {
    "dup_columns.csv": r"several columns are called 'a'",
    "one_class.csv": r"column 'y' has the value yes in every row",
    "pa_struct.parquet": r"column 'b' holds structs",
    "pl_list.parquet": r"column 'l' holds lists",
    "ragged.csv": r"row 31 .* has 4 values and not 3",
    "unique_text_target.csv": r"column 'y' has 60 different texts in 60 rows",
}


@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: row["file"])
def test_table_is_read_as_expected(row: dict[str, str]) -> None:
    path, settings = TABLES / row["file"], DataSettings(target=row["target"])
    if row["refused"]:
        with pytest.raises(DataError, match=REFUSED[row["file"]]):
            study(read_table(path, settings), settings)
        return
    found = study(read_table(path, settings), settings).report("")
    kinds = " ".join(f"{column.name}:{column.kind}" for column in found.columns).replace("\n", "\\n")
    classes = "" if found.class_names is None else str(len(found.class_names))
    assert (found.task, classes, str(found.rows_left_out), kinds) == (
        row["task"], row["classes"], row["rows_left_out"], row["columns"],
    )  # fmt: skip
    assert found.rows == 60 - int(row["rows_left_out"])
