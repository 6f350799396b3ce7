"""`runs`, `label`, `rm` and the completion of RUN."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from run_directories import RunMaker
from running import forge

from forge_tui.cli import completion, steer
from forge_tui.protocol.label import Label
from forge_tui.protocol.phases import RunState
from forge_tui.runs import registry
from forge_tui.runs.label import read_label


def test_a_run_is_named_and_its_label_is_printed(maker: RunMaker) -> None:
    path = maker.make("night", count=1)
    assert forge("label", "night").stdout == "night: no name, no note\n"
    assert forge("label", "night", "--name", "baseline", "--note", "lr 0.1").stdout == "night: baseline, lr 0.1\n"
    assert read_label(path) == Label("baseline", "lr 0.1")
    found = json.loads(forge("label", "baseline", "--json").stdout)
    assert found == {"run": "night", "path": str(path), "name": "baseline", "note": "lr 0.1"}
    assert forge("label", "baseline", "--name", "").stdout == "night: no name, lr 0.1\n"
    assert "no run 'baseline'" in forge("label", "baseline", status=2).stderr


def test_a_second_run_of_the_same_name_is_a_warning(maker: RunMaker) -> None:
    first = maker.make("a", count=1)
    maker.make("b", count=1)
    assert "warning" not in forge("label", "a", "--name", "same").stderr
    said = forge("label", "b", "--name", "same").stderr
    assert f"warning: 'same' also stands for {first}" in said


def test_runs_shows_best_and_time_and_names_and_notes_only_where_there_are_any(maker: RunMaker) -> None:
    path = maker.make("night", count=1)
    header, line = forge("runs").stdout.splitlines()
    assert header.split() == ["RUN", "STATE", "CREATED", "MODELS", "MODE", "BEST", "TOOK", "DIRECTORY"]
    assert "accuracy 0.9720  10:00" in line
    forge("label", "night", "--name", "base line", "--note", "a note")
    header, line = forge("runs").stdout.splitlines()
    assert header.split() == ["RUN", "NAME", "STATE", "CREATED", "MODELS", "MODE", "BEST", "TOOK", "DIRECTORY", "NOTE"]
    assert line.startswith("night  base line  completed")
    assert line.endswith(f"{path}  a note")
    (record,) = json.loads(forge("runs", "--json").stdout)
    assert (record["name"], record["note"], record["metric"], record["value"]) == (
        "base line",
        "a note",
        "accuracy",
        0.972,
    )


def test_names_are_completed_beside_ids(maker: RunMaker) -> None:
    maker.make("night", count=1)
    forge("label", "night", "--name", "baseline")
    assert completion._runs("") == ["baseline", "night"]
    parser = completion.whole_parser("forge-tui rm ")
    rm = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction)).choices["rm"]
    action = next(one for one in rm._actions if one.dest == "runs")
    assert action.completer is completion._runs


def test_several_runs_are_deleted_and_one_that_cannot_be_is_told(maker: RunMaker) -> None:
    gone = [maker.make(name, count=1) for name in ("a", "b")]
    live = maker.make("live", RunState.RUNNING, count=1)

    said = forge("rm", "--yes", "a", "nowhere", live, "b", gone[0], status=2).stderr

    assert not any(path.exists() for path in gone)
    assert live.exists()
    assert "no run 'nowhere'" in said
    assert f"{live} is in use" in said
    assert [line for line in said.splitlines() if line.endswith("deleted")] == [f"{path} deleted" for path in gone]


def test_it_asks_once_about_all_of_them(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [maker.make(name, count=1) for name in ("a", "b")]
    asked: list[str] = []

    def answers(question: str) -> str:
        asked.append(question)
        return "n" if len(asked) == 1 else "y"

    monkeypatch.setattr(steer.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", answers)

    assert "Nothing was deleted." in forge("rm", "a", "b", status=1).stderr
    assert all(path.exists() for path in paths)
    forge("rm", "a", "b")
    assert asked == ["Delete 2 runs and all models in them? [y/N] "] * 2
    assert registry.known() == []


def test_without_a_terminal_nothing_is_deleted_unasked(maker: RunMaker) -> None:
    path = maker.make("a", count=1)
    assert "give --yes" in forge("rm", "a", status=4).stderr
    assert path.exists()


def test_a_start_is_named(run_directory: Path) -> None:
    tiny = ("--no-ui", "--models", "1", "--epochs", "1", "--model-size", "1000", "--samples", "64", "--threads", "1")
    found = forge(*tiny, "--policy", "dedicated", "--fuse", "1", "--name", "first try", "--output", run_directory)
    assert "first try (run) completed" in found.stderr
    assert read_label(run_directory) == Label("first try")
    (entry,) = [one for one in registry.known() if one.path == run_directory]
    assert (entry.status, entry.metric) == ("completed", "accuracy")
    assert entry.seconds is not None
    assert entry.seconds > 0


def test_a_name_that_is_no_name_ends_a_start_before_anything_is_made(run_directory: Path) -> None:
    said = forge("--no-ui", "--name", "a/b", "--output", run_directory, status=2).stderr
    assert "has '/' in it" in said
    assert not run_directory.exists()
