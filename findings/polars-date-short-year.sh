#!/usr/bin/env bash
# polars 2.1.0: texts that are no dates of four-digit years, and a format with %Y.
# Guess: %Y wants four digits, as in Python's strptime: 05-Jan-20 and the version 10.1.2 are no dates, and are refused.
# Seen:  any number of digits is a year: they become 5 January of the year 20, and 2 January of the year 10.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'polars==2.1.0'
cat >"$work/see.py" <<'PY'
import datetime

import polars as pl

print("polars", pl.__version__)
for text, form, seen in (("05-Jan-20", "%d-%b-%Y", (20, 1, 5)), ("10.1.2", "%Y.%m.%d", (10, 1, 2))):
    found = pl.Series([text]).str.to_date(form)[0]
    try:
        python = datetime.datetime.strptime(text, form)
    except ValueError as error:
        python = error
    print(f"{text!r} as {form}: polars {found}, Python: {python}")
    assert found == datetime.date(*seen), "no longer as found"
    assert isinstance(python, ValueError)
PY
cd "$work"
venv/bin/python see.py
