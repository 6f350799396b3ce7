"""A look at a table in a process of its own."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from forge_tui.cli import main
from forge_tui.client.table_process import TableProcess
from forge_tui.errors import DataError, ForgeError
from forge_tui.protocol.table_look import TableLook

TABLES = Path(__file__).parents[1] / "fixtures" / "tables"


def test_it_is_what_the_command_shows(capsys: pytest.CaptureFixture[str]) -> None:
    path = TABLES / "missing_class_NA_u.csv"
    found = TableProcess(path, {"target": "y", "ignore": ["b"]}).look()
    assert main(["data", str(path), "--target", "y", "--ignore", "b", "--json"]) == 0
    assert found == TableLook.from_record(json.loads(capsys.readouterr().out))
    assert (found.rows, found.class_names, found.rows_left_out) == (60, ("no", "yes"), 7)
    assert (found.split, found.columns[1].reason) == ("stratified by class", "as data.ignore says")


def test_names_of_any_kind_reach_it(tmp_path: Path) -> None:
    path = tmp_path / "weird ü'.csv"
    path.write_text('"a,b";"x\n""y""";[z]\n' + "1;2;0\n3;4;1\n" * 20, encoding="utf-8")
    names = ["a,b", 'x\n"y"']
    found = TableProcess(path, {"target": "[z]", "ignore": ["a,b"], "categories": [names[1]], "separator": ";"}).look()
    assert [(column.name, column.kind) for column in found.columns] == [
        (names[0], "left_out"), (names[1], "category"), ("[z]", "category"),
    ]  # fmt: skip


def test_what_cannot_be_read_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file; check the path"):
        TableProcess(tmp_path / "absent.csv", {}).look()


def test_a_setting_that_is_wrong_is_an_error_in_words() -> None:
    with pytest.raises(ForgeError, match=r"data\.task"):
        TableProcess(TABLES / "dates.csv", {"task": "guess"}).look()


def test_a_look_has_a_time_limit() -> None:
    process = TableProcess(TABLES / "dates.csv", {}, seconds=0.0)
    with pytest.raises(ForgeError, match="could not be looked at within 0 s"):
        process.look()
    assert process._process is not None
    assert process._process.returncode == -9


def test_a_crash_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))  # no Python begins
    with pytest.raises(ForgeError, match=r"dates\.csv: looking at it (ended with status|was killed by)"):
        TableProcess(TABLES / "dates.csv", {}).look()


@pytest.mark.skipif(sys.platform == "win32", reason="a script with an interpreter")
def test_stop_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = tmp_path / "begun"
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n: > '{begun}'\nexec sleep 600\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    process = TableProcess(TABLES / "dates.csv", {})
    raised: list[ForgeError] = []

    def look() -> None:
        with pytest.raises(ForgeError, match="stopped") as caught:
            process.look()
        raised.append(caught.value)

    thread = threading.Thread(target=look)
    thread.start()
    while not begun.exists():
        assert thread.is_alive()
        thread.join(0.01)
    process.stop()
    thread.join(30)
    assert len(raised) == 1
    with pytest.raises(ForgeError, match="stopped"):
        process.look()  # nothing begins any more
