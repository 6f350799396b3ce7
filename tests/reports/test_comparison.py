"""Runs side by side, as data and as the command line writes them."""

from __future__ import annotations

import dataclasses
import io
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_directories import RunMaker

from forge_tui.cli import main
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.reports.comparison import Comparer, Comparison, equal_line, figure_rows, setting_rows, write_comparison
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig, UiSettings, keys_by_name


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[RunMaker]:
    made = RunMaker(tmp_path / "runs", now=100_000.0)
    yield made
    made.close()


def with_settings(path: Path, run: RunSettings | None = None, ui: UiSettings | None = None, **training: Any) -> Path:
    run = dataclasses.replace(run or RunSettings(), output=str(path))
    settings = Settings(training=TrainingConfig(**training), run=run, ui=ui or UiSettings())
    write_settings(settings, path / "settings.toml")
    return path


def looked_at(*paths: Path) -> Comparison:
    with Comparer(paths) as comparer:
        return comparer.look()


def written(comparison: Comparison) -> str:
    out = io.StringIO()
    write_comparison(comparison, "text", out)
    return out.getvalue()


def test_settings_that_differ_are_told_by_their_dotted_keys_and_the_equal_ones_counted(maker: RunMaker) -> None:
    one = with_settings(maker.make("one"), learning_rate=0.001, betas=(0.9, 0.999))
    two = with_settings(maker.make("two"), RunSettings(max_seconds=60.0), learning_rate=0.01, betas=(0.8, 0.999))
    three = with_settings(maker.make("three"), RunSettings(json=True), UiSettings(theme="light"), grokfast_enabled=True)
    comparison = looked_at(one, two, three)
    assert setting_rows(comparison) == [
        ("training.learning_rate", "0.001", "0.01", "0.001"),
        ("training.grokfast_enabled", "false", "false", "true"),
        ("training.betas", "0.9, 0.999", "0.8, 0.999", "0.9, 0.999"),
        ("run.max_seconds", "—", "60.0", "—"),
    ]
    # Where a run lies and how it is shown is no difference.
    shown = [key for key in keys_by_name() if key in ("run.output", "run.json") or key.startswith("ui.")]
    assert comparison.equal == len(keys_by_name()) - len(shown) - 4
    assert equal_line(comparison) == f"{comparison.equal} settings equal"


def test_figures_are_of_the_completed_models(maker: RunMaker) -> None:
    losses = (0.5, 0.25, 0.125)
    models = [
        maker.model(index, loss=loss, validation_loss=2 * loss, validation_accuracy=accuracy)
        for index, (loss, accuracy) in enumerate(zip(losses, (0.5, 0.875, 0.75), strict=True), 1)
    ]
    one = maker.make("one", RunState.FAILED, [*models, maker.failed(4, epoch=1)], reason="1 failed")
    two = maker.make("two", models=[maker.model(1, loss=0.3, validation_loss=None, validation_accuracy=None)])
    comparison = looked_at(one, two)
    found = comparison.runs[0].finals
    assert found is not None
    loss = found.metrics["loss"]
    assert (found.models, found.so_far, loss.count) == (3, False, 3)
    assert loss.mean == pytest.approx(np.mean(losses))
    assert loss.deviation == pytest.approx(np.std(losses, ddof=1))
    assert figure_rows(comparison) == [
        ("state", "failed", "completed"),
        ("models", "3/4 done, 1 failed", "1/1 done"),
        ("best model", "cognate_planner_2", "cognate_planner_1"),
        ("loss best", "0.2500", "0.3000"),
        ("loss mean", "0.2917 ± 0.1909", "0.3000"),
        ("val loss best", "0.5000", "—"),
        ("val loss mean", "0.5833 ± 0.3819", "—"),
        ("accuracy best", "0.8750", "—"),
        ("accuracy mean", "0.7083 ± 0.1909", "—"),
        ("took", "10:00", "10:00"),
        ("workers", "2 of 6", "2 of 6"),
    ]


def test_of_a_run_without_a_completed_model_the_values_so_far_count(maker: RunMaker) -> None:
    live = [maker.model(1, TrainingPhase.TRAINING, epoch=50, loss=0.4), maker.model(2, TrainingPhase.QUEUED)]
    comparison = looked_at(maker.make("live", RunState.RUNNING, live), maker.make("done", count=2))
    assert ("values", "so far", "final") in figure_rows(comparison)
    assert comparison.runs[0].finals is not None
    assert comparison.runs[0].finals.models == 1
    assert {row[0]: row[1] for row in figure_rows(comparison)}["loss mean"] == "0.4000"


def test_a_run_that_cannot_be_read_is_told_and_the_others_are_compared(maker: RunMaker) -> None:
    good = with_settings(maker.make("good"))
    other = with_settings(maker.make("other"), epochs=7)
    bad = with_settings(maker.make("bad"), epochs=5)
    (bad / "run.db").write_bytes(b"rubbish" * 1000)
    comparison = looked_at(good, bad, other)
    assert ("training.epochs", "100", "5", "7") in setting_rows(comparison)
    assert figure_rows(comparison)[0] == ("state", "completed", "unreadable", "completed")
    assert any("bad: " in problem and "not the database of a run" in problem for problem in comparison.problems)
    assert "warning: bad: " in written(comparison)


def test_a_run_of_a_newer_version_is_told_in_words(maker: RunMaker) -> None:
    newer = maker.make("newer")
    database = sqlite3.connect(newer / "run.db")
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.close()
    (newer / "settings.toml").write_text("[training]\nwarp_factor = 9\n")
    comparison = looked_at(with_settings(maker.make("good")), newer, with_settings(maker.make("third"), epochs=1))
    assert any("was written by a newer forge-tui" in problem for problem in comparison.problems)
    assert any("unknown key training.warp_factor" in problem for problem in comparison.problems)
    assert ("training.epochs", "100", "?", "1") in setting_rows(comparison)


def test_without_settings_nothing_is_called_equal(maker: RunMaker) -> None:
    comparison = looked_at(with_settings(maker.make("one")), maker.make("two"))
    assert setting_rows(comparison) == []
    assert equal_line(comparison) == "no settings are compared: those of only one run can be read"
    assert any(
        "two: " in problem and "settings.toml: there is no such file" in problem for problem in comparison.problems
    )


def test_another_look_reads_what_has_changed(maker: RunMaker) -> None:
    live = maker.make("live", RunState.RUNNING, [maker.model(1, TrainingPhase.TRAINING, epoch=3)])
    with Comparer([live, maker.make("done")]) as comparer:
        assert {row[0]: row[1] for row in figure_rows(comparer.look())}["loss mean"] == "1.805"
        opened = dict(comparer.runs)
        maker._stores[0].put_model(maker.model(1, TrainingPhase.TRAINING, epoch=4, loss=0.5))
        maker._stores[0].flush()
        assert {row[0]: row[1] for row in figure_rows(comparer.look())}["loss mean"] == "0.5000"
        assert comparer.runs == opened


def test_names_and_values_of_files_do_not_steer_the_terminal(maker: RunMaker) -> None:
    one = maker.make("a\x1b[31m[b]", count=1)
    two = maker.make("two", count=1)
    for path, target in ((one, "\x1b]0;x\x07[/]"), (two, "b")):
        settings = Settings(data=DataSettings(target=target))
        write_settings(settings, path / "settings.toml")
    text = written(looked_at(one, two))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[b]" in text
    assert "[/]" in text


def test_the_command_line_writes_both_tables(
    maker: RunMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = with_settings(maker.make("one"), epochs=10)
    two = with_settings(maker.make("two"), epochs=20)
    assert main(["report", str(one), "--against", str(two)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"1 one: {one}", f"2 two: {two}"]
    assert lines[3].split() == ["SETTING", "1", "one", "2", "two"]
    assert lines[4].split() == ["training.epochs", "10", "20"]
    assert lines[5].endswith(" settings equal")
    assert lines[7].split() == ["FIGURE", "1", "one", "2", "two"]
    assert lines[8].split() == ["state", "completed", "completed"]
    assert lines[-1] == "mean ± standard deviation over 3 and 3 models"
    assert main(["report", "one", "--against", "two", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["settings"] == {"training.epochs": [10, 20]}
    assert [run["run"] for run in record["runs"]] == ["one", "two"]
    assert record["runs"][0]["final"]["loss"]["count"] == 3
    assert record["runs"][0]["final"]["validation_perplexity"] is None
    assert record["runs"][1]["completed"] == record["runs"][1]["models"] == 3


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["one", "--against", "one"], 2, "compared with itself"),
        (["one", "--against", "two", "--format", "csv"], 2, "a comparison has no CSV"),
        (["one", *(["--against", "two"] * 4)], 2, "at most 4 runs"),
        (["one", "--against", "nowhere"], 2, "nowhere"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    maker: RunMaker, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str
) -> None:
    with_settings(maker.make("one"))
    with_settings(maker.make("two"))
    assert main(["report", *arguments]) == status
    assert words in capsys.readouterr().err


def test_a_damaged_run_is_shown_and_the_status_says_so(maker: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    with_settings(maker.make("one"))
    bad = with_settings(maker.make("bad"))
    (bad / "run.db").write_bytes(b"rubbish" * 1000)
    assert main(["report", "one", "--against", str(bad)]) == 4
    assert "unreadable" in capsys.readouterr().out
