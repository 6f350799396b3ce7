"""`[run] on_finish`: explicit arguments, no shell, and words for what goes wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from forge_tui.protocol.phases import RunState
from forge_tui.runner import finishing
from forge_tui.runner.finishing import filled_in, run_on_finish

MOST = 1 << 20
WRITE = "import pathlib, sys; pathlib.Path('told').write_text('|'.join(sys.argv[1:]))"


def test_the_three_words_are_filled_in_and_all_other_braces_stay(tmp_path: Path) -> None:
    given = ["{run}: {state}", "{directory}/x", "{}", "{loss}", "{{run}}"]
    found = filled_in(given, tmp_path / "one", RunState.COMPLETED)
    assert found == ["one: completed", f"{tmp_path}/one/x", "{}", "{loss}", "{one}"]


def test_what_was_filled_in_is_not_filled_in_again(tmp_path: Path) -> None:
    assert filled_in(["{run}"], tmp_path / "{state}{directory}", RunState.FAILED) == ["{state}{directory}"]


def test_the_command_runs_in_the_working_directory_and_nothing_in_it_is_a_shells(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, "$HOME; {state} *", "{run}"]
    assert run_on_finish(command, tmp_path / "my run", RunState.STOPPED, tmp_path, MOST) is None
    assert (tmp_path / "told").read_text() == "$HOME; stopped *|my run"


def test_without_its_working_directory_it_runs_in_the_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, "here"]
    assert run_on_finish(command, tmp_path, RunState.KILLED, tmp_path / "gone", MOST) is None
    assert (tmp_path / "told").read_text() == "here"


def test_no_command_does_nothing(tmp_path: Path) -> None:
    assert run_on_finish([], tmp_path, RunState.COMPLETED, tmp_path, MOST) is None


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with status 3"),
        (["/nowhere/at/all"], "cannot be run: "),
        (["with\0zero"], "cannot be run: "),
        ([""], "cannot be run: "),
    ],
)
def test_what_went_wrong_is_told(tmp_path: Path, command: list[str], words: str) -> None:
    told = run_on_finish(command, tmp_path, RunState.COMPLETED, tmp_path, MOST)
    assert told is not None
    assert told.startswith("[run] on_finish: ")
    assert words in told


FLOOD = "import os\nwhile True: os.write(1, b'x' * 65536)"


def test_a_command_that_prints_without_end_is_ended_before_it_has_filled_the_disk(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from forge_tui.runner.finishing import run_on_finish; "
        "from forge_tui.protocol.phases import RunState; "
        f"sys.stderr.write(run_on_finish([sys.executable, '-c', {FLOOD!r}], pathlib.Path('.'), RunState.FAILED, "
        f"pathlib.Path('.'), {MOST}))"
    )
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run([sys.executable, "-c", code], stdout=log, stderr=subprocess.PIPE, text=True, check=True)
    assert done.stderr.endswith("was ended because it printed more than run.log_bytes")


def test_a_command_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishing, "SECONDS", 0.2)
    command = [sys.executable, "-c", "__import__('time').sleep(600)"]
    told = run_on_finish(command, tmp_path, RunState.COMPLETED, tmp_path, MOST)
    assert told == f"[run] on_finish: {sys.executable} was ended after 0.2 s"
