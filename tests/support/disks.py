"""A small disk of one's own that can be filled and freed, and directories that take no new files."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10  # ioctl_iflags(2)


class SmallDisk:
    """A file system of a few MiB at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Have only `leave` bytes left."""
        with open(self._filler, "ab", buffering=0) as file:
            while (left := self.free - leave) > 0:
                try:
                    file.write(bytes(min(left, 1 << 16)))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    return

    def clear(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """A tmpfs at `path`; the test is skipped where none can be mounted."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0700", "forge-tui-test", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def read_only(*directories: Path) -> Iterator[None]:
    """No names in these directories can be made, changed or removed; files that are open go on being written.

    By mode, or for root, whom modes do not stop, by the attribute `immutable`; skipped where that is not there.
    """
    made: list[Path] = []
    try:
        for directory in directories:
            _set_read_only(directory, True)
            made.append(directory)
        yield
    finally:
        for directory in made:
            _set_read_only(directory, False)


def _set_read_only(directory: Path, on: bool) -> None:
    if os.geteuid() != 0:
        directory.chmod(0o500 if on else 0o700)
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        flags = array.array("l", [0])
        fcntl.ioctl(descriptor, _GET_FLAGS, flags, True)
        flags[0] = flags[0] | _IMMUTABLE if on else flags[0] & ~_IMMUTABLE
        fcntl.ioctl(descriptor, _SET_FLAGS, flags)
    except OSError as error:
        pytest.skip(f"root cannot make {directory} read-only here: {error.strerror}")
    finally:
        os.close(descriptor)
