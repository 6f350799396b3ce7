"""`python -m forge_tui`: the same as the command `forge-tui`."""

import sys

from forge_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
