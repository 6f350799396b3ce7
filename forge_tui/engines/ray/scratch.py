"""The directory for the files of a cluster that is started on this machine."""

from __future__ import annotations

import os
import shutil
import tempfile

# A socket's path has at most 107 bytes, and those of Ray's have up to 84 below this.
_LONGEST_DIRECTORY = 22


def make_scratch() -> str:
    """A new directory, whose path leaves room for Ray's sockets."""
    usual = tempfile.gettempdir()
    is_long = len(os.fsencode(usual)) > _LONGEST_DIRECTORY and os.path.isdir("/tmp")
    return tempfile.mkdtemp(prefix="forge-ray-", dir="/tmp" if is_long else None)


def remove_scratch(place: str | None) -> None:
    """Remove it with all that is in it, if it is there."""
    if place is not None:
        shutil.rmtree(place, ignore_errors=True)
