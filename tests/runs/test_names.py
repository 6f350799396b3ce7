"""Names that become part of a path: made so that they may, and checked when they come from a file."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_directories import RunMaker
from storm_checks import told

from forge_tui.client import delete
from forge_tui.errors import RunDirectoryError
from forge_tui.runs import commands, tables
from forge_tui.runs.belongings import belonging_of
from forge_tui.runs.layout import RunDirectory, default_run_path, model_name, type_word
from forge_tui.runs.names import (
    RESULT,
    checked_name,
    checkpoint_name,
    is_inside,
    is_name,
    original_of,
    result_names,
    step_and_attempt,
)
from forge_tui.runs.own_paths import Record
from forge_tui.runs.reader import RunReader
from forge_tui.training.record_file import read_model_record

HOSTILE = (
    "../outside",
    "/etc/passwd",
    "..",
    ".",
    "",
    ".hidden",
    "-rf",
    "a/b",
    "a\0b",
    "a\nb",
    "été",
    "a b",
    "a\x1b[2J",
)


@pytest.mark.parametrize("name", ["cognate_planner_1", "A", "0", "a.b-c_d", "x" * 200])
def test_names_that_may_be(name: str) -> None:
    assert is_name(name)
    assert checked_name(name, "a file") == name


@pytest.mark.parametrize("name", [*HOSTILE, None, 7, b"bytes", ["a"]])
def test_names_that_may_not_be_are_refused_in_words(name: object) -> None:
    assert not is_name(name)
    with pytest.raises(RunDirectoryError, match=r"^the record has the name .*letters, digits") as caught:
        checked_name(name, "the record")
    assert str(caught.value).isprintable()


@given(st.text())
def test_whatever_a_model_is_called_its_name_may_become_part_of_a_path(model_type: str) -> None:
    for text in (model_type, f"{model_type}.py", f"net.py:{model_type}", f"{model_type}:model", f"../{model_type}"):
        assert is_name(type_word(text))
        assert is_name(model_name(text, 12))
        assert is_name(default_run_path(text, 0.0).name)


@pytest.mark.parametrize("model_type", ["_private", "__init__.py", "été.py", "_", "...", "../../etc", "net.py:_make"])
def test_odd_names_of_models(model_type: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]*", type_word(model_type))


@pytest.mark.parametrize("path", ["settings.toml", "code/net.py", "code/été/__init__.py", "..."])
def test_paths_inside_a_directory(path: str) -> None:
    assert is_inside(path)


@pytest.mark.parametrize(
    "path", ["", "/", "/etc", "..", "../x", "a/../b", "a//b", "a/", "./a", "a\0b", "x" * 5_000, None, 7]
)
def test_paths_that_lead_elsewhere(path: object) -> None:
    assert not is_inside(path)


@pytest.mark.parametrize(
    ("temporary", "original"),
    [
        (".run.db.0123abcd.tmp", "run.db"),
        (".run.db.0123abcd.tmp-journal", "run.db"),
        (".settings.toml.ab_d1234", "settings.toml"),
        (".step-000000000010.safetensors.0123abcd.tmp", "step-000000000010.safetensors"),
        (".cognate_planner_1.log.tmp", "cognate_planner_1.log"),
        (".mine.tmp", None),
        (".run.db.0123ABCD.tmp", None),
        ("run.db.0123abcd.tmp", None),
        (".other.toml.ab_d1234", None),
    ],
)
def test_names_of_files_that_are_being_written(temporary: str, original: str | None) -> None:
    assert original_of(temporary) == original


@pytest.mark.parametrize("attempt", [1, 7, 123_456_789])
def test_names_of_what_an_attempt_writes_say_which_it_is(attempt: int) -> None:
    name = checkpoint_name(20, attempt)
    assert step_and_attempt(name) == (20, attempt)
    assert step_and_attempt(original_of(f".{name}.0123abcd.tmp") or "") == (20, attempt)
    assert [int(RESULT.fullmatch(one)[1]) for one in result_names(attempt)] == [attempt] * 2  # type: ignore[index]


@pytest.mark.parametrize("name", ["step-1.safetensors", "step-000000000001-attempt-.safetensors", "step.safetensors"])
def test_other_names_are_of_no_checkpoint(name: str) -> None:
    assert step_and_attempt(name) is None
    assert step_and_attempt("step-000000000020.safetensors") == (20, 0)  # of version 0.1.0


def test_what_an_attempt_writes_beside_its_checkpoints_is_the_runs(tmp_path: Path) -> None:
    place = belonging_of(tmp_path, Record(models=frozenset({"planner_1"}))).inner("checkpoints")
    assert place is not None
    inner = place.inner("planner_1")
    assert inner is not None
    assert all(inner.owns(name) for name in (checkpoint_name(5, 2), *result_names(2), "step-000000000005.safetensors"))
    assert not inner.owns("result.json")


# --- read from files


def rename_model(path: Path, index: int, name: object, **changes: Any) -> None:
    """Give a model another name in run.db, with the right checksum, as somebody could who wants to do harm."""
    with sqlite3.connect(path / "run.db") as database:
        ((revision, text),) = database.execute(
            "SELECT revision, record FROM models WHERE model_index = ?", (index,)
        ).fetchall()
        record = json.dumps({**json.loads(text), "name": name, **changes})
        crc = tables.model_crc(index, revision, record.encode())
        database.execute("UPDATE models SET record = ?, crc = ? WHERE model_index = ?", (record, crc, index))
    database.close()


def record_path(path: Path, recorded: str, *, directory: bool = False) -> None:
    with sqlite3.connect(path / "run.db") as database:
        row = (recorded, int(directory), tables.path_crc(recorded.encode(), directory))
        database.execute("INSERT INTO paths VALUES (?, ?, ?)", row)
    database.close()


def record_code(path: Path, code: object) -> None:
    with sqlite3.connect(path / "run.db") as database:
        text, *numbers = database.execute("SELECT record, revision, heartbeat, written, last_seq FROM run").fetchone()
        record = json.dumps({**json.loads(text), "code": code})
        database.execute("UPDATE run SET record = ?, crc = ?", (record, tables.run_crc(record.encode(), *numbers)))
    database.close()


@pytest.fixture
def run(maker: RunMaker, tmp_path: Path) -> Path:
    path = maker.make("run", count=2)
    for name in ("outside.json", "outside.safetensors", "outside.log", "outside/step-000000000010.safetensors"):
        (tmp_path / "runs" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "runs" / name).write_text("mine")
    return path


def left(run: Path) -> set[str]:
    return {str(path.relative_to(run.parent)) for path in run.parent.rglob("outside*")}


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", ".hidden", 7, "a\x1b[2Jb"])
def test_a_model_of_another_name_is_refused_wherever_it_is_read(run: Path, name: object) -> None:
    rename_model(run, 2, name)
    before = left(run)
    for arguments in (("status",), ("logs", "cognate_planner_1"), ("report",), ("best",), ("rm", "--yes")):
        status, out, err = told(arguments[0], run, *arguments[1:])
        assert (status, out) == (4, ""), arguments
        assert "model 2 in " in err
        assert "run.db has the name" in err
        assert "\x1b" not in err
    assert left(run) == before
    assert (run / "run.db").exists()


def test_the_log_of_a_group_is_named_by_its_first_model(run: Path) -> None:
    rename_model(run, 1, "cognate_planner_1", group=["../outside", "cognate_planner_1"])
    with pytest.raises(RunDirectoryError, match="has the name"), RunReader(run) as reader:
        reader.models()


@pytest.mark.parametrize("path", ["../outside.json", "/etc/passwd", "logs/../../outside.log", ""])
def test_a_recorded_path_outside_the_run_is_refused(run: Path, path: str) -> None:
    record_path(run, path)
    before = left(run)
    with pytest.raises(RunDirectoryError, match="is not in its directory"):
        delete(run)
    assert left(run) == before


def test_files_that_no_run_makes_stay_though_they_are_recorded(run: Path) -> None:
    (run / "thesis.tex").write_text("mine")
    (run / "src").mkdir()
    record_path(run, "thesis.tex")
    record_path(run, "src", directory=True)
    assert {path.name for path in delete(run)} == {"thesis.tex", "src"}
    assert (run / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("code", [{"../../outside.json": "0"}, {"/etc/passwd": "0"}])
def test_recorded_code_outside_the_run_is_refused(run: Path, code: object) -> None:
    record_code(run, code)
    with pytest.raises(RunDirectoryError, match="is not in its directory"):
        delete(run)


def test_recorded_code_that_is_no_table_is_refused(run: Path) -> None:
    record_code(run, ["../../outside.json"])
    with pytest.raises(RunDirectoryError, match="the record of the run cannot be right"):
        delete(run)
    assert (run / "run.db").exists()


def test_a_model_file_of_another_name_is_refused(tmp_path: Path) -> None:
    stem = tmp_path / "cognate_planner_1"
    stem.with_suffix(".json").write_text(json.dumps({"format": 1, "name": "../outside"}))
    with pytest.raises(RunDirectoryError, match=rf"^{stem}.json has the name"):
        read_model_record(stem)


def test_a_command_about_a_model_of_another_name_is_malformed(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.create()
    commands.send(directory, "cancel", {"model": "../outside"}, "test")
    (found,) = commands.take(directory)
    assert found.problem is not None
    assert "no model has the name '../outside'" in found.problem


def test_commands_are_not_sent_out_of_the_run(tmp_path: Path) -> None:
    directory, outside = RunDirectory(tmp_path / "run"), tmp_path / "outside"
    directory.create()
    outside.mkdir()
    directory.commands.rmdir()
    directory.commands.symlink_to(outside)
    uses: tuple[Callable[[], object], ...] = (
        lambda: commands.send(directory, "stop", {}, "test"),
        lambda: commands.take(directory),
    )
    for use in uses:
        with pytest.raises(RunDirectoryError, match="commands is a symbolic link"):
            use()
    assert list(outside.iterdir()) == []
