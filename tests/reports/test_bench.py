"""`forge-tui bench`: real runs in series and in parallel, and nothing left of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import SMALL, forge

from forge_tui.reports.bench import Compared, bench_table


def test_both_ways_are_timed_and_nothing_is_left(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    # torch makes this directory when a process imports its compiler.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("torch")))
    done = forge("bench", *SMALL, "--epochs", "2", "--counts", "2,3", "--workers", "2", "--json")
    two, three = json.loads(done.stdout)
    assert (two["model_size"], two["models"], three["models"]) == (2000, 2, 3)
    for one in (two, three):
        (series,), (parallel,) = one["series"], one["parallel"]
        assert one["speed_up"] == pytest.approx(series / parallel)
    assert two["notes"].startswith(("2 workers of 1 model, 1 thread each; ", "1 worker of 1 model, 1 thread each; "))
    assert "3 models of 2,000 parameters in parallel, round 1 of 1" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert json.loads(forge("runs", "--json").stdout) == []


def test_the_medians_stand_in_the_table() -> None:
    one = Compared(104_000, 12, (20.0, 24.0, 21.0), (7.0, 6.0, 9.0), "2 workers of 3 models, 1 thread each; …")
    row = bench_table([one]).splitlines()[1]
    assert row.split()[:7] == ["104,000", "12", "21.0", "s", "7.0", "s", "3.00x"]


@pytest.mark.parametrize("wrong", [("--counts", "0"), ("--sizes", "many"), ("--rounds", "-1"), ("--epochs", "0")])
def test_wrong_numbers_are_refused(wrong: tuple[str, str]) -> None:
    assert wrong[0].lstrip("-") in forge("bench", *wrong, status=2).stderr


def test_a_run_that_cannot_begin_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert "nowhere.csv" in forge("bench", "--dataset", "nowhere.csv", status=2).stderr
    assert list(tmp_path.iterdir()) == []
