"""What the tests of the screens share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from run_directories import RunMaker


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in."""
    here = tmp_path / "work"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "ui.json"


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[RunMaker]:
    """Makes run directories of now."""
    made = RunMaker(tmp_path / "runs")
    yield made
    made.close()
