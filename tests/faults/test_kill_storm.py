"""A short storm of the kind that `kill_storm.py` makes for as long as one likes."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from running import SMALL
from storms import Storm, undisturbed

ARGUMENTS = (
    *SMALL, "--models", "4", "--epochs", "80", "--checkpoint-interval", "5", "--mode", "parallel", "--workers", "2",
    "--max-retries", "1000", "--set", "data.samples=320",
)  # fmt: skip
KILLS = 8


@pytest.mark.skipif(sys.platform != "linux", reason="what runs is read from /proc")
@pytest.mark.parametrize("fuse", ["1", "2"])
def test_killed_at_random_instants_nothing_is_lost(tmp_path: Path, fuse: str) -> None:
    arguments = (*ARGUMENTS, "--fuse", fuse)
    reference = undisturbed(tmp_path / "undisturbed", arguments)
    tally = Storm(tmp_path, arguments, reference, random.Random(7)).rage(KILLS)
    assert tally.problems == [], tally.table()
    assert tally.killed >= KILLS
    assert tally.counts["runs that came to their end"] >= 1
