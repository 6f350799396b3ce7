#!/usr/bin/env bash
# safetensors 0.8.0: saving a NumPy array in Fortran order, such as a transposed one.
# Guess: it is written in C order, or refused as safetensors.torch refuses tensors that are not contiguous.
# Seen:  its bytes are written as they lie in memory under the shape of the view: what is loaded has the right shape and other values.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'safetensors==0.8.0' 'numpy==2.3.5'
cat >"$work/see.py" <<'PY'
import numpy as np
import safetensors
import safetensors.numpy

print("safetensors", safetensors.__version__)
weights = np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3))
loaded = safetensors.numpy.load(safetensors.numpy.save({"weights": weights}))["weights"]
copied = safetensors.numpy.load(safetensors.numpy.save({"weights": np.ascontiguousarray(weights)}))["weights"]
print("saved", weights.tolist(), " loaded", loaded.tolist(), " saved as a C-order copy", copied.tolist())
assert loaded.shape == weights.shape
assert (copied == weights).all()
assert not (loaded == weights).all(), "the right values: no longer as found"
PY
cd "$work"
venv/bin/python see.py
