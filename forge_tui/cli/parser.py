"""The parser of the command line: its messages quote arguments, which may be names that steer a terminal."""

from __future__ import annotations

import argparse
from typing import NoReturn

from forge_tui.safe_io.printing import escaped


class Parser(argparse.ArgumentParser):
    """As the standard library's; what is wrong with the arguments is told without harmful characters."""

    def error(self, message: str) -> NoReturn:
        """Print usage and `message`, and exit with 2."""
        super().error(escaped(message))
