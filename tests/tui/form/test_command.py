"""The command that is shown starts the very run that the form stands for."""

from __future__ import annotations

import argparse
import subprocess
from typing import Any

import pytest

from forge_tui.settings.flags import add_flags, add_source_flags, resolve_arguments
from forge_tui.settings.schema import Settings
from forge_tui.tui.form.command import command
from forge_tui.tui.form.form_values import Form
from forge_tui.tui.form.source import FormSource, fill_form


def settings_of(line: str) -> Settings:
    """What the command line makes of the command."""
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True).stdout
    program, *arguments = words.split("\0")[:-1]
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--no-ui", action="store_true")
    add_source_flags(parser)
    add_flags(parser)
    namespace = parser.parse_args(arguments)
    assert program == "forge-tui"
    assert namespace.no_ui
    return resolve_arguments(namespace).settings


def test_a_command_of_the_users_own_comes_last() -> None:
    own = ["sh", "-c", 'echo {seed} "$X" it\'s', "--epochs"]
    form = fill_form(FormSource(flags={"run.command": own, "run.parse": "json"}), {}).form
    line = command(form)
    ours, _, last = line.partition(" -- ")
    assert ours == "forge-tui --no-ui --parse json"
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {last}"], capture_output=True, text=True, check=True).stdout
    assert words.split("\0")[:-1] == own


def test_defaults_need_no_flags() -> None:
    assert command(fill_form(FormSource(), {}).form) == "forge-tui --no-ui"


def test_only_what_differs_is_said_and_quoted_for_a_shell() -> None:
    form = fill_form(FormSource(), {}).form
    form = form.put("training.training_mode", "parallel").put("training.dataset", "my data/it's.csv")

    assert command(form) == """forge-tui --no-ui --dataset 'my data/it'"'"'s.csv' --mode parallel"""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("training.dataset", "-x.csv"),
        ("training.dataset", "a\nb; rm -rf $HOME.csv"),
        ("training.betas", [0.5, 0.25]),
        ("training.grokfast_enabled", True),
        ("data.normalise", False),
        ("training.learning_rate", 1e-07),
        ("run.max_seconds", 90.0),
        ("resources.threads", 2),
        ("resources.memory_per_worker_gb", "measured"),
        ("data.target", "tschüß col"),
    ],
)
def test_the_command_gives_the_same_settings(name: str, value: Any) -> None:
    form = fill_form(FormSource(), {}).form.put(name, value)

    assert settings_of(command(form)) == form.settings()


@pytest.mark.parametrize(
    "sweeps",
    [
        ("learning_rate=0.001,1e-07", "model_type=planner,memory", "data.normalise=true,false"),
        ("betas=[[0.9, 0.999], [0.8, 0.99]]",),
        ("dataset=a b.csv,-x.csv",),
    ],
)
def test_the_command_of_a_sweep_gives_the_same_sweep(sweeps: tuple[str, ...]) -> None:
    form = fill_form(FormSource(sweeps=sweeps), {}).form

    assert len(form.settings().sweep) == len(sweeps)
    assert settings_of(command(form)) == form.settings()


def test_arguments_of_ones_own_functions_are_given_too() -> None:
    assignments = ("model.channels=8", "model.name=a b", "model.sizes=[1, 2]", "model.deep=true")
    sweeps = ("model.width=4,8",)
    form = fill_form(
        FormSource(flags={"training.model_type": "net.py"}, assignments=assignments, sweeps=sweeps), {}
    ).form

    assert form.settings().model == {"channels": 8, "name": "a b", "sizes": [1, 2], "deep": True}
    assert settings_of(command(form)) == form.settings()


def test_a_default_is_said_where_the_environment_has_another_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_TUI_TRAINING__EPOCHS", "5")
    form: Form = fill_form(FormSource(), {}).form

    assert command(form) == "forge-tui --no-ui --epochs 5"
    assert command(form.put("training.epochs", 100)) == "forge-tui --no-ui --epochs 100"
    assert settings_of(command(form.put("training.epochs", 100))).training.epochs == 100


def test_the_command_of_a_search_gives_the_same_search() -> None:
    spaces = ("learning_rate=1e-4..1e-1:log", "batch_size=8,16", "model.width=4..64:int")
    flags = {"search.method": "tpe", "search.trials": "7", "training.model_type": "net.py"}
    form = fill_form(FormSource(flags=flags, spaces=spaces), {}).form
    line = command(form)
    assert "--space training.learning_rate=1e-4..1e-1:log" in line
    found = settings_of(line)
    assert found.search == form.settings().search
    assert (found.search.trials, found.run.models) == (7, 1)
