"""Network file systems are told from local ones by the mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge_tui.runs.filesystem import filesystem_type, is_network

TABLE = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /home/local rw master:1 propagate_from:2 - xfs /dev/sdb rw
32 22 0:41 / /mnt/with\040space rw - fuse.sshfs me@there: rw
33 22 0:42 / /homework rw - tmpfs tmpfs rw
34 22 0:43 / /twice rw - nfs a:/ rw
35 34 0:44 / /twice rw - tmpfs b rw
36 22 0:45 / /disk rw - fuseblk /dev/sdc rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/tmp/x", "ext4", False), ("/home/me/run", "nfs4", True), ("/home", "nfs4", True),
        ("/home/local/run", "xfs", False), ("/mnt/with space/run", "fuse.sshfs", True), ("/homework/x", "tmpfs", False),
        ("/twice/x", "tmpfs", False), ("/disk/x", "fuseblk", False),
    ],
)  # fmt: skip
def test_the_longest_mount_point_tells(tmp_path: Path, path: str, kind: str, network: bool) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(TABLE)
    assert filesystem_type(Path(path), table) == kind
    assert is_network(Path(path), table) is network


def test_without_a_mount_table_it_is_taken_for_local(tmp_path: Path) -> None:
    assert filesystem_type(tmp_path, tmp_path / "none") is None
    assert not is_network(tmp_path, tmp_path / "none")
