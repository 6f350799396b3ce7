#!/usr/bin/env bash
# Ray 2.60.0: a node that is given the address 127.0.0.1.
# Guess: that is its address, and nothing outside of the machine reaches it.
# Seen:  the address is replaced by one of the machine's own without a word, unless it has none. An undocumented use of
#        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 on Linux keeps 127.0.0.1.
set -euo pipefail
if [ -z "$(hostname -I 2>/dev/null | tr -d ' ')" ]; then
  echo "this machine has no address but the loopback's: nothing to see here"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'ray==2.60.0'
cat >"$work/see.py" <<'PY'
import ray

ray.init(
    num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _node_ip_address="127.0.0.1"
)
print(ray.nodes()[0]["NodeManagerAddress"])
ray.shutdown()
PY
cd "$work"
given=$(venv/bin/python see.py)
kept=$(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 venv/bin/python see.py)
echo "127.0.0.1 becomes $given; with the variable it stays $kept"
[ "$given" != 127.0.0.1 ] || { echo "it stays: no longer as found"; exit 1; }
[ "$kept" = 127.0.0.1 ]
