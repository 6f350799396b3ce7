"""The buffers of tmux, which reach the clipboard where the escape sequence of a program does not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

_SECONDS = 2.0


def put_into_buffer(text: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Make `text` tmux's newest buffer, and send it to the terminal's clipboard; False outside tmux or if it fails.

    By default tmux ignores OSC 52 of the programs in it (`set-clipboard external`); its own buffers it sends (`-w`,
    since tmux 3.2). May take 2 s: call it in a thread.
    """
    if not environment.get("TMUX"):
        return False
    try:
        done = subprocess.run(
            ["tmux", "load-buffer", "-w", "-"],
            input=text.encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env=dict(environment),
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
