"""Detects network file systems, where SQLite's WAL does not work."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NETWORK = frozenset((
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "glusterfs", "gfs", "gfs2", "gpfs",
    "lustre", "ncpfs", "nfs", "nfs3", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "vboxsf",
    "wekafs",
))  # fmt: skip
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def filesystem_type(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the file system of `path`, such as `ext4`; None if unknown.

    `mountinfo` is as proc_pid_mountinfo(5) describes it.
    """
    try:
        lines = mountinfo.read_bytes().splitlines()
    except OSError:
        return None
    real = os.fsencode(os.path.realpath(path))
    best, found = -1, None
    for line in lines:
        left, _, right = line.partition(b" - ")
        fields, kind = left.split(b" "), right.split(b" ", 1)[0]
        if len(fields) < 5 or not kind:
            continue
        point = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
        inside = real == point or real.startswith(point.rstrip(b"/") + b"/")
        # Of several mounts on one point the last is visible.
        if inside and len(point) >= best:
            best, found = len(point), kind.decode("ascii", "replace")
    return found


def is_network(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether shared memory between hosts is unreliable at `path`. FUSE counts too: its backend is unknown."""
    kind = filesystem_type(path, mountinfo)
    return kind is not None and (kind in _NETWORK or kind == "fuse" or kind.startswith("fuse."))
