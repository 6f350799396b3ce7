"""A short version of `hostile_run.py`: one hostile directory of each kind, and commands that read what is in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hostile_place import COMMANDS, GROUPS, Hostile

CHOSEN: list[tuple[str, str, tuple[str, ...]]] = [
    ("run.db, run", "steering text", ("status", "status --json", "report", "prometheus", "attach")),
    ("run.db, run", "last event 10^15", ("report --format json", "Run (Python)", "resume")),
    ("run.db, models", "name ../", ("status", "logs MODEL", "best", "resume", "rm")),
    ("run.db, models", "name ../", ("export --to csv", "report --format tensorboard")),
    ("run.db, models", "numbers 1e308", ("status", "report", "best --json", "prometheus", "attach")),
    ("run.db, events", "steering failure", ("report", "attach")),
    ("run.db, paths", "../guard", ("rm",)),
    ("run.db, schema", "endless view", ("report --format json", "resume", "rm")),
    ("run.db", "run.db-journal: names a file", ("status", "resume", "rm")),
    ("settings.toml", "settings.toml: a pipe", ("resume", "report --against")),
    ("settings.toml", "settings.toml: on_finish", ("resume",)),
    ("NAME", "NAME.json: a function", ("load_model", "ensemble", "sample")),
    ("NAME", "NAME.safetensors: a pipe", ("load_model",)),
    ("checkpoints", "checkpoints: a link out", ("resume", "rm")),
    ("others", "logs/runner.log: a pipe", ("logs",)),
    ("state", "runs.jsonl: steering text", ("runs", "forge-tui")),
    ("code", "as it was copied", ("load_model", "resume", "ensemble", "rm")),
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FORGE_TUI_STATE", "PYTHONPATH", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp("home")))
        patch.setattr("sys.path", [*sys.path])
        yield Hostile(tmp_path_factory.mktemp("hostile"))
        os.chdir(before)


@pytest.mark.parametrize(
    ("group", "case", "commands"), CHOSEN, ids=[f"{group}: {case}, {commands[0]}" for group, case, commands in CHOSEN]
)
def test_nothing_outside_is_touched_and_nothing_is_run(
    hostile: Hostile, group: str, case: str, commands: tuple[str, ...]
) -> None:
    known = len(hostile.account.problems)
    hostile.look(group, case, list(commands))
    assert hostile.account.problems[known:] == []


def test_every_group_and_every_command_is_tried() -> None:
    assert {group for group, _, _ in CHOSEN} >= GROUPS.keys() - {"run.db, epochs", "run.db, resources"}
    assert {name for _, _, commands in CHOSEN for name in commands} <= COMMANDS.keys()
