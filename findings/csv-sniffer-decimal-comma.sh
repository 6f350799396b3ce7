#!/usr/bin/env bash
# Python 3: the delimiter that csv.Sniffer finds in a table of numbers.
# Guess: the semicolon of a table with decimal commas, and none (an error) where there is one column.
# Seen:  the decimal comma, and for a single column of numbers a digit.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'pip'
cat >"$work/see.py" <<'PY'
import csv
import platform

print("Python", platform.python_version())
european = "1,5;2,5\n3,5;4,5\n5,5;6,5\n"
column = "1.5\n2.5\n3.5\n"
found = [csv.Sniffer().sniff(text).delimiter for text in (european, column)]
rows = list(csv.reader(european.splitlines(), delimiter=found[0]))
print(f"decimal commas: {found[0]!r}, rows {rows}; one column: {found[1]!r}")
assert found == [",", "5"], "no longer as found"
assert [len(row) for row in rows] == [3, 3, 3]
PY
cd "$work"
venv/bin/python see.py
