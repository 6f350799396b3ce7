#!/usr/bin/env bash
# polars 2.1.0: an Arrow stream in an open file whose beginning was looked at.
# Guess: after `file.seek(0)` the whole stream is read, as read_csv and read_ndjson read from where the file stands.
# Seen:  read_ipc_stream takes the descriptor and begins where the operating system stands, behind Python's buffer: it
#        fails, as if the file were damaged. With `buffering=0` it reads it all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'polars==2.1.0'
cat >"$work/see.py" <<'PY'
import polars as pl

print("polars", pl.__version__)
pl.DataFrame({"a": list(range(100_000))}).write_ipc_stream("t.arrow")


def read(buffering: int) -> object:
    with open("t.arrow", "rb", buffering=buffering) as file:
        file.read(6)
        file.seek(0)
        try:
            return pl.read_ipc_stream(file).height
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:60]}"


buffered, unbuffered = read(-1), read(0)
print("buffered:", buffered)
print("unbuffered:", unbuffered)
assert isinstance(buffered, str), "no longer as found"
assert unbuffered == 100_000
PY
cd "$work"
venv/bin/python see.py
