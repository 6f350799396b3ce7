"""Two CSV tables that grow with a run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from growing_runs import GrowingRun
from run_directories import RunMaker
from running import forge

from forge_tui.protocol.phases import RunState, TrainingPhase


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def export(run: GrowingRun, here: Path) -> str:
    """Export it into `here`; returns what is said."""
    done = forge("export", run.path, "--to", "csv", cwd=here)
    assert done.stdout == f"{here / 'growing-csv'}\n"
    return done.stderr


def check(run: GrowingRun, here: Path) -> list[dict[str, str]]:
    """The table of epochs has what the run has, once, name by name."""
    rows = table(here / "growing-csv" / "epochs.csv")
    expected = {(name, epoch.epoch): epoch for name, history in run.expected().items() for epoch in history}
    assert len(rows) == len(expected)
    for row in rows:
        epoch = expected[row["model"], int(row["epoch"])]
        assert row["run"] == "growing"
        for name in ("loss", "validation_loss"):
            assert float(row[name]) == epoch.metrics[name]
    return rows


def test_rows_are_added_and_equal_the_report(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker)
    run.train(1, [1, 2])
    export(run, tmp_path)
    first = (tmp_path / "growing-csv" / "epochs.csv").read_bytes()
    run.train(2, [1])
    run.train(1, [3])
    assert "2 epochs written" in export(run, tmp_path)
    content = (tmp_path / "growing-csv" / "epochs.csv").read_bytes()
    assert content.startswith(first)
    assert "0 epochs written" in export(run, tmp_path)
    assert (tmp_path / "growing-csv" / "epochs.csv").read_bytes() == content
    check(run, tmp_path)
    reported = {
        (row["model"], row["epoch"]): row
        for row in csv.DictReader(forge("report", run.path, "--format", "csv").stdout.splitlines())
    }
    for row in table(tmp_path / "growing-csv" / "epochs.csv"):
        same = reported[row["model"], row["epoch"]]
        assert {name: row[name] for name in same if name in row} == {
            name: value for name, value in same.items() if name in row
        }


def test_new_metrics_become_columns_at_the_end(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    export(run, tmp_path)
    run.train(1, [2], {"epoch": 7.0, "f1": 0.5})
    export(run, tmp_path)
    run.train(1, [3], {"epoch": 8.0})
    export(run, tmp_path)
    rows = check(run, tmp_path)
    assert [(row["metric.epoch"], row["f1"], row["epoch"]) for row in rows] == [
        ("", "", "1"), ("7.0", "0.5", "2"), ("8.0", "", "3"),
    ]  # fmt: skip


def test_a_rollback_replaces_rows(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker)
    run.train(1, [1, 2, 3])
    run.train(2, [1])
    export(run, tmp_path)
    run.train(1, [2, 3], shift=0.5)
    assert "2 epochs written; once a model's epochs were replaced\n" in export(run, tmp_path)
    check(run, tmp_path)


def test_what_a_killed_export_has_left_of_a_row_is_written_again(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1, 2, 3])
    export(run, tmp_path)
    path = tmp_path / "growing-csv" / "epochs.csv"
    path.write_bytes(path.read_bytes()[:-7])
    assert "1 epoch written" in export(run, tmp_path)
    check(run, tmp_path)


def test_a_table_of_something_else_is_not_touched(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    export(run, tmp_path)
    path = tmp_path / "growing-csv" / "epochs.csv"
    path.write_text("a,b\r\n1,2\r\n")
    done = forge("export", run.path, "--to", "csv", cwd=tmp_path, status=1)
    assert f"{path} was changed or is damaged; delete it, and export again" in done.stderr
    assert path.read_text() == "a,b\n1,2\n"


def test_models_have_a_table_with_seed_phase_and_settings(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker)
    run.train(1, [1])
    run.end_model(1, TrainingPhase.COMPLETED, combination={"learning_rate": 0.5})
    run.end(RunState.STOPPED)
    export(run, tmp_path)
    rows = table(tmp_path / "growing-csv" / "models.csv")
    assert [(row["model"], row["seed"], row["phase"], row["config.learning_rate"]) for row in rows] == [
        ("cognate_planner_1", "42", "completed", "0.5"), ("cognate_planner_2", "43", "training", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("given", [True, False], ids=["--output", "default"])
def test_a_directory_of_other_things_is_not_taken(maker: RunMaker, tmp_path: Path, given: bool) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    taken = tmp_path / "growing-csv"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    if given:
        done = forge("export", run.path, "--to", "csv", "--output", taken, cwd=tmp_path, status=2)
        assert f"{taken} has other files in it, or another run; choose another directory with --output" in done.stderr
    else:
        assert forge("export", run.path, "--to", "csv", cwd=tmp_path).stdout == f"{tmp_path / 'growing-csv-2'}\n"
    assert [path.name for path in taken.iterdir()] == ["notes.txt"]
