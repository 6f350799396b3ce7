"""The page about Slurm shows the scripts as they are."""

from __future__ import annotations

import re
import subprocess

import pytest
from doc_pages import ROOT

PAGE = ROOT / "docs" / "slurm.md"
SCRIPTS = sorted((ROOT / "docs" / "slurm").glob("*.sh"))


def test_the_page_shows_every_script() -> None:
    shown = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert sorted(shown) == sorted(script.read_text(encoding="utf-8") for script in SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_well_formed(script: object) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
