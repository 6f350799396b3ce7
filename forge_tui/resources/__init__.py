"""What this process may use of the machine, how many workers that allows, and why.

Detection logs to `forge_tui.resources` at level DEBUG; nothing is printed unless the caller configures logging.
"""

from __future__ import annotations

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
