#!/usr/bin/env bash
# safetensors 0.6.2: files with several metadata keys.
# Guess: equal tensors and equal metadata give equal bytes, as they do without metadata.
# Seen:  the order of the keys differs from process to process; with at most one key the bytes are equal.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'safetensors==0.6.2' 'numpy==2.3.5'
cat >"$work/see.py" <<'PY'
import hashlib
import subprocess
import sys

SAVE = """
import sys, numpy, safetensors.numpy
metadata = {f"key{n}": "value" for n in range(int(sys.argv[1]))}
sys.stdout.buffer.write(safetensors.numpy.save({"a": numpy.zeros(2)}, metadata=metadata))
"""


def hashes(keys: int) -> set[str]:
    """Of the same file, written by eight processes."""
    written = [subprocess.run([sys.executable, "-c", SAVE, str(keys)], stdout=subprocess.PIPE, check=True) for _ in range(8)]
    return {hashlib.sha256(done.stdout).hexdigest()[:12] for done in written}


one, many = hashes(1), hashes(8)
print(f"different files of eight written: {len(one)} with one metadata key, {len(many)} with eight")
assert len(one) == 1
assert len(many) > 1, "equal bytes: no longer as found"
PY
cd "$work"
venv/bin/python see.py
