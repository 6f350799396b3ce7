#!/usr/bin/env bash
# polars 2.1.0: a CSV file of numbers that numpy.savetxt has written.
# Guess: missing and infinite values are read as the floats that they are, or as null, whatever their case.
# Seen:  NaN, inf and -inf are numbers; nan, as NumPy writes it, and Infinity turn the whole column into text.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'polars==2.1.0' 'numpy==2.3.5'
cat >"$work/see.py" <<'PY'
import io

import numpy as np
import polars as pl

print("polars", pl.__version__)
buffer = io.StringIO()
np.savetxt(buffer, np.array([[1.0, np.nan], [2.0, 4.0]]), delimiter=",", header="a,b", comments="", fmt="%g")
print(buffer.getvalue())
written = pl.read_csv(buffer.getvalue().encode())
kinds = {text: pl.read_csv(f"x\n1.5\n{text}\n".encode()).dtypes[0] for text in ("NaN", "nan", "inf", "Infinity", "-inf")}
told = pl.read_csv(b"x\n1.5\nnan\n", schema_overrides={"x": pl.Float64})["x"].to_list()
print(written.schema, kinds, "told that it is a number:", told)
assert written.dtypes == [pl.Int64, pl.String], "no longer as found"
assert kinds["NaN"] == kinds["inf"] == kinds["-inf"] == pl.Float64
assert kinds["nan"] == kinds["Infinity"] == pl.String
assert np.isnan(told[1])
PY
cd "$work"
venv/bin/python see.py
