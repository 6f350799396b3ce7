"""The unit of systemd in the documentation is one that systemd takes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from doc_pages import ROOT

UNIT = ROOT / "docs" / "systemd" / "forge-tui@.service"
PAGE = ROOT / "docs" / "guide" / "shared-servers.md"


def test_the_page_shows_the_unit_as_it_is() -> None:
    assert f"```ini\n{UNIT.read_text(encoding='utf-8')}```" in PAGE.read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    unit = tmp_path / "forge-tui@night.service"
    shutil.copy(UNIT, unit)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
