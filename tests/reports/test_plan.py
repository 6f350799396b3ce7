"""`forge-tui plan`: the ways to carry out a run, really measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from running import SMALL, forge

from forge_tui.protocol.plan import Estimate, RunPlan, Way
from forge_tui.reports.plan_table import plan_table

_RUN = ("--models", "4", "--epochs", "30", "--policy", "dedicated", "--threads", "1", *SMALL)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_table_and_the_flags_of_the_best_way(tmp_path: Path) -> None:
    done = forge("plan", *_RUN, "--output", "out")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["MODE", "WORKERS", "TOGETHER", "THREADS", "STEPS/S", "MEMORY", "TIME"]
    assert lines[1].startswith("*")
    assert any("series" in line for line in lines)
    assert lines[-1].startswith("best: --mode ")
    assert list(tmp_path.iterdir()) == []


def test_why_there_are_no_more_workers_is_told() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        told = forge("plan", *_RUN).stdout
    finally:
        os.sched_setaffinity(0, allowed)
    assert "\nworkers: 1 instead of 4: CPU limit: " in told


def test_the_flags_of_the_best_way_start_such_a_run(tmp_path: Path) -> None:
    plan = json.loads(forge("plan", *_RUN, "--json").stdout)
    best = plan["estimates"][0]
    assert best["seconds"] > 0
    forge("--no-ui", *_RUN, *best["flags"].split(), "--output", "out")
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 4


def test_what_a_start_would_refuse_is_refused(tmp_path: Path) -> None:
    done = forge("plan", "--dataset", "nowhere.csv", status=2)
    assert "nowhere.csv" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_table_says_where_the_ways_were_measured() -> None:
    ways = (Estimate(Way("parallel", 2, 1, 1), 60.0, 100.0, 1 << 30),)
    assert plan_table(RunPlan(ways, "", 1.0)).startswith("   MODE")
    told = RunPlan.from_record(RunPlan(ways, "", 1.0, device="2 GPUs: 2 × Test").to_record())
    assert plan_table(told).splitlines()[0] == "trained on: 2 GPUs: 2 × Test"
