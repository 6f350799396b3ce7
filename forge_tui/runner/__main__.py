"""`python -P -m forge_tui.runner FD`: the runner, started by `client`; FD is its channel to the caller."""

import sys

from forge_tui.runner.main import main

if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
