#!/usr/bin/env bash
# polars 2.1.0: a CSV column of whole numbers above 64 bits, such as identifiers of 20 digits.
# Guess: it is read as floats or as text, as pandas does it, and converts to NumPy and Arrow.
# Seen:  it becomes Int128, which can be converted neither to NumPy (and so not to torch) nor to pyarrow; Parquet files of it are read by polars alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'polars==2.1.0' 'numpy==2.3.5' 'pyarrow==26.0.1'
cat >"$work/see.py" <<'PY'
import io

import polars as pl
import pyarrow.parquet

print("polars", pl.__version__)
table = pl.read_csv(b"id\n12345678901234567890\n1\n")
parquet = io.BytesIO()
table.write_parquet(parquet)
failures = {}
for name, convert in {
    "to_numpy": table.to_numpy,
    "to_arrow": table.to_arrow,
    "pyarrow.parquet.read_table": lambda: pyarrow.parquet.read_table(io.BytesIO(parquet.getvalue())),
}.items():
    try:
        convert()
    except Exception as error:
        failures[name] = f"{type(error).__name__}: {error}"
print(table.schema, *failures.items(), sep="\n")
assert table.dtypes == [pl.Int128]
assert len(failures) == 3, "no longer as found"
assert pl.read_parquet(io.BytesIO(parquet.getvalue())).equals(table)
PY
cd "$work"
venv/bin/python see.py
