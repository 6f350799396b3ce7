"""What the README says of settings, keys and commands holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import forge_tui.cli.command_table
from forge_tui.reports.run_report import EPOCH_COLUMNS
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import fields_of
from forge_tui.tui.bindings import ACTIONS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_is_the_schema() -> None:
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `(--[\w-]+)[^`]*` \| (\S+(?: [^|]*\S)?) \|", README, re.MULTILINE)
    keys = {key.key: key for key in fields_of()}
    assert [name for name, _, _ in rows] == list(keys)
    for name, _flag, default in rows:
        expected = "—" if keys[name].default is None else f"`{shown(keys[name].default)}`"
        assert default == expected, name


def test_every_command_is_described() -> None:
    for command in forge_tui.cli.command_table.COMMANDS:
        assert re.search(rf"`(forge-tui )?{command.name}\b", README), command.name


def test_every_letter_key_is_described() -> None:
    keys = README.split("## The terminal UI")[1].split("\n## ")[0]
    for action in ACTIONS:
        for key in action.keys:
            if len(key) == 1 and key.isalpha() and action.id != "leave":
                assert f"`{key}`" in keys, (action.id, key)


def test_the_blocks_for_python_run_one_after_another(tmp_path: Path) -> None:
    """Training, and the files that it leaves; with fewer epochs, which is all that is changed."""
    section = README.split("## From Python")[1].split("\n## ")[0]
    training, *others = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    shorter = training.replace("epochs=50", "epochs=1")
    assert shorter != training
    code = "\n".join([shorter, *others])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"planner \{'loss': .*'accuracy': .*\} \d\.\d+\nTrue\n", done.stdout), done.stdout


def test_every_figure_of_a_report_is_named() -> None:
    section = README.split("Every figure of every epoch")[1].split("\n\nA run directory")[0]
    (row,) = re.findall(r"^\| `csv` \| .*$", section, re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)`", row)[1:]) == EPOCH_COLUMNS


def test_the_quick_start_has_exactly_two_commands() -> None:
    start = README.split("## Quick start")[1].split("\n## ")[0]
    assert len(re.findall(r"```sh\n", start)) == 2


def test_the_example_of_ones_own_code_is_the_starting_point() -> None:
    (shown,) = re.findall(r"<!-- network.py[^\n]*-->\n```python\n(.*?)```\n", README, re.DOTALL)
    assert shown == (Path(forge_tui.cli.__file__).parent / "starting_point" / "network.py").read_text(encoding="utf-8")
