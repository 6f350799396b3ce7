"""Short storms of the kind that `kill_storm.py` makes for as long as one likes, one for each scenario."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from depth import all_but
from storm_scenarios import SCENARIOS
from storm_tally import ENDS
from storms import Storm

KILLS = 2
# What they do is killed elsewhere, too, if not at random instants; `fuse-auto` trains groups as well.
DEEPER = ("planners", "groups", "sweep", "patience", "halving", "schedules", "npy")


@pytest.mark.skipif(sys.platform != "linux", reason="what runs is read from /proc")
@pytest.mark.parametrize("name", all_but(DEEPER, SCENARIOS))
def test_killed_at_random_instants_nothing_is_lost(tmp_path: Path, name: str) -> None:
    scenario = SCENARIOS[name].smaller()
    tally = Storm(tmp_path, scenario, random.Random(f"{name}/7")).rage(KILLS)
    assert tally.problems == [], tally.table()
    assert tally.killed >= KILLS
    assert tally.counts[ENDS] >= 1
