#!/usr/bin/env bash
# pandas 3.1.1: read_csv with sep=None, which detects the separator.
# Guess: the semicolon of a table with decimal commas, all the more with decimal=",", and one column of a table that has one.
# Seen:  it splits at the decimal commas, and a single column of numbers at a digit that all of them have.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'pandas==3.1.1' 'numpy==2.3.5'
cat >"$work/see.py" <<'PY'
import io

import pandas as pd


def detected(text: str, **options: str) -> list[list[object]]:
    """The rows of a table without a header."""
    return pd.read_csv(io.StringIO(text), sep=None, engine="python", header=None, **options).values.tolist()


print("pandas", pd.__version__)
european = detected("1,5;2,5\n3,5;4,5\n5,5;6,5\n", decimal=",")
column = detected("1.5\n2.5\n3.5\n")
print("decimal commas:", european, " one column:", column)
assert european == [[1, "5;2", 5], [3, "5;4", 5], [5, "5;6", 5]], "no longer as found"
assert [len(row) for row in column] == [2, 2, 2], "no longer as found"
PY
cd "$work"
venv/bin/python see.py
