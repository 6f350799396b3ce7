#!/usr/bin/env bash
# Hypothesis 6.170.17. `@settings(derandomize=True)` is documented as giving the same examples every time.
# One would guess: the examples follow from the test alone. An edit of another module, which the test does not use, can
# change neither them nor whether the test passes.
# Seen: whole numbers and texts that stand in modules beside the test are tried as examples, in derandomized tests too.
# Where a module that is merely imported has a constant, a test that passed without it fails.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check hypothesis==6.170.17
mkdir "$work/project"
cd "$work/project"

cat >test_counts.py <<'PY'
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

import limits  # what stands in it is used by nobody

seen = set()


@settings(derandomize=True, database=None, max_examples=200)
@given(st.integers(0, 10**12))
def test(count):
    seen.add(count)


test()
print(sys.argv[1], "examples:", len(seen), "with 271828182845:", 271828182845 in seen)
PY

for text in "OTHER = None" "OTHER = None" "OTHER = 271828182845"; do
  printf '%s\n' "$text" >limits.py
  rm -rf __pycache__
  "$work/venv/bin/python" test_counts.py "${text#OTHER = }"
done | tee out
printf 'versions: '
"$work/venv/bin/python" -c 'import hypothesis, sys; print("hypothesis", hypothesis.__version__, "Python", sys.version.split()[0])'

[ "$(sed -n 1p out)" = "$(sed -n 2p out)" ]
grep -q '^None examples: [0-9]* with 271828182845: False$' out
grep -q '^271828182845 examples: [0-9]* with 271828182845: True$' out
echo "a constant of another module is among the examples of a derandomized test"
