"""Cut off and flip bits in every kind of state file, read them with everything that reads them: prints a table.

python tests/faults/damage.py [--cases 5000] [--seed 7]

Each reader has to refuse in words that name the file, to tell what is missing, or to show what was written; never a
traceback, never another number. The exit status is 0 if that held.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from damaging import Damage, uses_private_state


def main() -> int:
    """Try it out and print the account."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000, help="files to damage, of all kinds together")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="damage-") as temporary:
        uses_private_state(Path(temporary))
        begun = time.monotonic()
        account = Damage(Path(temporary)).try_out(given.cases, random.Random(given.seed))
    print(f"seed {given.seed}")
    print(account.table())
    print(f"{time.monotonic() - begun:.0f} s")
    return 1 if account.problems else 0


if __name__ == "__main__":
    sys.exit(main())
