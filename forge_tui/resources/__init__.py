"""The machine's resources that this process may use, how many workers they allow, and why.

Detection logs to `forge_tui.resources` at level DEBUG; nothing is printed unless the caller configures logging.
"""

from __future__ import annotations

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
