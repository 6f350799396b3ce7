#!/usr/bin/env bash
# NumPy 2.3.5: np.load of an .npz archive with mmap_mode.
# Guess: its arrays are memory maps, as that of an .npy file is, or the mode is refused.
# Seen:  the mode is ignored without a warning, for uncompressed archives too, and each access reads the array anew.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'numpy==2.3.5'
cat >"$work/see.py" <<'PY'
import warnings

import numpy as np

print("numpy", np.__version__)
np.save("x.npy", np.arange(1000.0))
np.savez("x.npz", a=np.arange(1000.0))
with warnings.catch_warnings():
    warnings.simplefilter("error")
    single = np.load("x.npy", mmap_mode="r")
    archive = np.load("x.npz", mmap_mode="r")
    first, second = archive["a"], archive["a"]
print("x.npy:", type(single).__name__, "  x.npz:", type(first).__name__, "  one array:", first is second)
assert isinstance(single, np.memmap)
assert not isinstance(first, np.memmap), "mapped: no longer as found"
assert first is not second
assert first.flags.writeable
PY
cd "$work"
venv/bin/python see.py
