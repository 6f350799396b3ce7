"""A command in the settings: placeholders and their errors, what may stand beside it, how its output is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forge_tui.errors import SettingsError, UsageError
from forge_tui.runs import run_models
from forge_tui.settings.command import filled, pattern_of, placeholders, require_fitting
from forge_tui.settings.files import read_settings, write_settings
from forge_tui.settings.replacement import refuse_replacement, require_no_unused
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig
from forge_tui.settings.setting_layers import Resolved, resolve_settings

VALUES = {"seed": 7, "lr": 1e-4, "name": "x {lr}", "flag": True, "layers": [8, 4], "epochs": None}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{seed}", "7"),
        ("--lr={lr}", "--lr=0.0001"),
        ("{seed}{seed}/{flag}", "77/true"),
        ("{layers}", "[8, 4]"),
        ("{epochs}", ""),
        ("${seed} ${{seed}} $seed", "${seed} ${{seed}} $seed"),
        ("{{seed}} {{other}}", "{seed} {other}"),
        ('{"rate": {lr}}', '{"rate": 0.0001}'),
        ("awk '{ print $1 }' {} {1} { seed } {a-b}", "awk '{ print $1 }' {} {1} { seed } {a-b}"),
        ("{name}", "x {lr}"),
        ("größe {seed} €", "größe 7 €"),
    ],
)
def test_only_a_word_in_braces_is_filled_in_and_once(given: str, expected: str) -> None:
    assert filled([given], VALUES) == [expected]


def test_the_words_of_a_command_are_found_in_order() -> None:
    assert list(placeholders(["{b}", "x{a}", "${c}", "{{d}}", "{b}"])) == ["b", "a", "b"]


def resolved(*command: str, **given: Any) -> Resolved:
    flags = {"run.command": list(command), **given.pop("flags", {})}
    return resolve_settings(flags=flags, environment={}, use_user_file=given.pop("use_user_file", False), **given)


@pytest.mark.parametrize(
    ("command", "flags", "models", "epochs"),
    [
        (("train",), {}, 1, None),
        (("train", "{seed}"), {}, 3, None),
        (("train", "{epochs}"), {}, 1, 100),
        (("train",), {"run.models": "3", "training.epochs": "100"}, 3, 100),
        (("train", "${seed}", "{{epochs}}"), {}, 1, None),
    ],
)
def test_a_command_has_one_model_and_no_epochs_unless_given_or_used(
    command: tuple[str, ...], flags: dict[str, str], models: int, epochs: int | None
) -> None:
    settings = resolved(*command, flags=flags).settings
    assert (settings.run.models, settings.training.epochs) == (models, epochs)
    assert [model.epochs for model in run_models.new_models(settings)] == [epochs] * models
    assert run_models.type_words(settings) == "command"
    assert next(run_models.names(settings)) == "cognate_command_1"


def fitting(*command: str, model: dict[str, Any] | None = None, **run: Any) -> None:
    sweep = run.pop("sweep", {})
    training = TrainingConfig(epochs=run.pop("epochs", None))
    require_fitting(
        Settings(training=training, run=RunSettings(command=command, **run), model=model or {}, sweep=sweep)
    )


def test_keys_of_model_and_of_its_sweep_are_placeholders() -> None:
    fitting("train", "{lr}", "{width}", model={"lr": 0.1}, sweep={"model.width": (1, 2)})


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (
            {"command": ("train", "{rate}")},
            r"{rate} in the command is no placeholder; there are {seed}, .* write {{rate}}",
        ),
        ({"command": ("train", "{sed}")}, r"did you mean seed\?"),
        ({"command": ("train",), "model": {"lr": 1}}, r"model.lr: the command does not use it; write {lr} where"),
        ({"command": ("train", "{seed}"), "model": {"seed": 1}}, "model.seed: {seed} is the model's own seed"),
        ({"command": ("",)}, "begins with the program, and that is empty"),
        ({"command": ("a\0b",)}, "has a zero byte"),
        ({"command": ("train",), "halving": 3}, "run.halving: halving compares models before their last epoch"),
        ({"command": ("train",), "parse": "loss ("}, r"neither json nor a regular expression .*'epoch \(\?P<epoch>"),
        ({"command": ("train",), "parse": r"loss (\S+)"}, "no group of it names a metric"),
        ({"command": ("train",), "parse": r"(?P<epoch>\d+)"}, "no group of it names a metric"),
    ],
)
def test_a_command_that_does_not_fit_is_refused_with_what_to_write(run: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        fitting(*run.pop("command"), **run)


def test_json_and_a_pattern_read_output() -> None:
    assert pattern_of(None) is pattern_of("json") is None
    pattern = pattern_of(r"epoch (?P<epoch>\d+) loss (?P<loss>\S+)")
    assert pattern is not None
    found = pattern.search("> epoch 3 loss 0.5")
    assert found is not None
    assert found.groupdict() == {"epoch": "3", "loss": "0.5"}


def test_settings_without_a_part_are_refused_beside_a_command_wherever_they_were_given(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        "[run]\ncommand = ['train']\nkeep_checkpoints = 5\n[training]\ntrain = 'gan.py'\n", encoding="utf-8"
    )
    with pytest.raises(SettingsError) as refused:
        resolve_settings(
            settings_file=file,
            flags={"training.model_type": "memory", "data.target": "y"},
            environment={"FORGE_TUI_ENGINE__FUSE": "auto"},
            sweeps=["learning_rate=0.1,0.2"],
            use_user_file=False,
        )
    assert str(refused.value).splitlines() == [
        "--model-type: the command trains instead of a built-in or custom model; give one of the two",
        f"{file}, line 5: the command trains instead of a training function; give one of the two",
        f"{file}, line 3: run.keep_checkpoints plays no part where the command trains; leave it out",
        "--target: only the built-in training loop uses data.target, and the command replaces it; leave it out, or "
        "give the command a placeholder of your own: {NAME} in the command, and --set model.NAME=VALUE",
        "FORGE_TUI_ENGINE__FUSE: engine.fuse plays no part where the command trains; leave it out",
        "--sweep training.learning_rate: only the built-in training loop uses training.learning_rate, and the command "
        "replaces it; sweep a placeholder of the command instead, such as --sweep model.learning_rate=VALUE,VALUE with "
        "{learning_rate} in it",
    ]


def test_a_sweep_of_models_is_refused_beside_a_command() -> None:
    with pytest.raises(SettingsError, match=r"--sweep training\.model_type: the command trains instead of a built-in"):
        resolved("train", sweeps=["model_type=planner,memory"])


def test_preferences_of_the_user_play_no_part_beside_a_command(tmp_path: Path) -> None:
    user = tmp_path / "user.toml"
    user.write_text("[training]\nbatch_size = 64\nepochs = 7\n[run]\nkeep_checkpoints = 9\n", encoding="utf-8")
    found = resolved("train", user_file=user, use_user_file=True)
    assert (found.settings.training.batch_size, found.settings.run.keep_checkpoints) == (32, 2)
    assert found.settings.training.epochs == 7


def test_the_written_settings_of_a_run_may_be_given_again(tmp_path: Path) -> None:
    written = tmp_path / "settings.toml"
    settings = resolved("sh", "-c", 'echo "a, [b]" {{x}} "\n"', flags={"run.parse": "json"}).settings
    write_settings(settings, written)
    assert read_settings(written).run.command == settings.run.command
    again = resolve_settings(settings_file=written, environment={}, use_user_file=False).settings
    assert again == settings


def test_reading_output_and_no_epochs_need_a_command() -> None:
    with pytest.raises(SettingsError, match="it reads a command's output, and there is none"):
        require_no_unused(Settings(run=RunSettings(parse="json")))
    with pytest.raises(SettingsError, match="only a command goes without; give a number"):
        require_no_unused(Settings(training=TrainingConfig(epochs=None)))


def test_what_measures_built_in_models_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="plan cannot be used with a command of your own: because"):
        refuse_replacement(Settings(run=RunSettings(command=("train",))), "plan", "because")
