"""What `--check` says of a table."""

from __future__ import annotations

import json
from pathlib import Path

from running import forge

TABLES = Path(__file__).parents[1] / "fixtures" / "tables"


def test_target_split_format_and_columns_are_told(tmp_path: Path) -> None:
    text = "id;when;n;colour;same;y\n" + "".join(
        f"p{n};2024-01-{n % 28 + 1:02};{n},5;{'red' if n % 3 else ''};1;{'' if n % 10 == 0 else 'ab'[n % 2]}\n"
        for n in range(40)
    )
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    arguments = ("--no-ui", "--check", "--models", "1", "--dataset", tmp_path / "t.csv", "--target", "y")
    said = forge(*arguments).stdout.splitlines()
    assert said[1:] == [
        "Target: 'y', 2 classes (a, b): 2 different values that are no numbers; 4 rows without it left out. "
        "Split: stratified by class.",
        "Format: separator ';'; decimal ','.",
        "left out: id (identifier: 40 different texts in 40 rows)",
        "date: when (written as %Y-%m-%d)",
        "number: n",
        "category: colour (text, 1 different values)",
        "left out: same (constant: every value is 1)",
    ]
    found = json.loads(forge(*arguments, "--json").stdout)["found"]
    assert (found["target"], found["class_names"], found["rows_left_out"]) == ("y", ["a", "b"], 4)
    assert (found["task"], found["classes"], found["train_samples"]) == ("classification", 2, 32)
    assert [(one["name"], one["kind"]) for one in found["columns"]] == [
        ("id", "left_out"), ("when", "date"), ("n", "number"), ("colour", "category"), ("same", "left_out"),
    ]  # fmt: skip
