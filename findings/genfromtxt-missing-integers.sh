#!/usr/bin/env bash
# NumPy 2.3.5: np.genfromtxt of whole numbers with missing values.
# Guess: an error, or NaN with floats as the result.
# Seen:  with dtype=int an empty field, and any word such as NA, becomes -1 without a warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'numpy==2.3.5'
cat >"$work/see.py" <<'PY'
import io
import warnings

import numpy as np

print("numpy", np.__version__)
with warnings.catch_warnings():
    warnings.simplefilter("error")
    whole = np.genfromtxt(io.StringIO("1,2\n,3\nNA,4\n"), delimiter=",", dtype=int)
    floats = np.genfromtxt(io.StringIO("1,2\n,3\nNA,4\n"), delimiter=",")
print("dtype=int:", whole.tolist(), " by default:", floats.tolist())
assert whole[:, 0].tolist() == [1, -1, -1], "no longer as found"
assert np.isnan(floats[1:, 0]).all()
PY
cd "$work"
venv/bin/python see.py
