#!/usr/bin/env bash
# pandas 3.1.1 to polars 2.1.0: a filtered table by way of Parquet.
# Guess: the index is a column of the file for every filtered table (or for none).
# Seen:  where the rows that are left are evenly spaced the index stays a range and makes no column; else the file has a further column __index_level_0__, which others read as a feature.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'pandas==3.1.1' 'pyarrow==26.0.1' 'polars==2.1.0'
cat >"$work/see.py" <<'PY'
import io

import pandas as pd
import polars as pl


def columns(keep: list[int]) -> list[str]:
    """Of the file, where these rows of four are kept."""
    table = pd.DataFrame({"a": [1, 2, 3, 4]})
    buffer = io.BytesIO()
    table[table.index.isin(keep)].to_parquet(buffer)
    return pl.read_parquet(io.BytesIO(buffer.getvalue())).columns


print("pandas", pd.__version__, " polars", pl.__version__)
found = {str(keep): columns(keep) for keep in ([1, 2, 3], [0, 2], [0, 1, 3])}
for keep, names in found.items():
    print(f"rows {keep}: columns {names}")
assert found["[1, 2, 3]"] == found["[0, 2]"] == ["a"]
assert found["[0, 1, 3]"] == ["a", "__index_level_0__"], "no longer as found"
PY
cd "$work"
venv/bin/python see.py
