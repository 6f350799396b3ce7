"""A training function in the settings: where it is named, and what may not be given beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge_tui.errors import SettingsError
from forge_tui.runs import run_models
from forge_tui.settings.files import write_settings
from forge_tui.settings.replacement import require_no_unused
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig
from forge_tui.settings.setting_layers import resolve_settings


def test_a_setting_of_the_built_in_loop_is_refused_beside_a_training_function_wherever_it_was_given(
    tmp_path: Path,
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[training]\ntrain = 'gan.py'\nbatch_size = 64\n", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        resolve_settings(
            settings_file=file,
            flags={"training.optimizer": "adam", "data.target": "y"},
            environment={"FORGE_TUI_ENGINE__FUSE": "auto"},
            sweeps=["learning_rate=0.1,0.2"],
            use_user_file=False,
        )
    words = str(refused.value).splitlines()
    assert words[0].startswith(f"{file}, line 3: only the built-in training loop uses training.batch_size, and --train")
    assert [line.partition(":")[0] for line in words[1:]] == [
        "--optimizer", "--target", "FORGE_TUI_ENGINE__FUSE", "--sweep training.learning_rate",
    ]  # fmt: skip
    assert "--sweep model.learning_rate=VALUE,VALUE" in words[-1]


def test_preferences_of_the_user_play_no_part_beside_a_training_function(tmp_path: Path) -> None:
    user = tmp_path / "user.toml"
    user.write_text("[training]\nbatch_size = 64\nepochs = 7\n[data]\ntarget = 'y'\n", encoding="utf-8")
    found = resolve_settings(user_file=user, flags={"training.train": "gan.py:train_gan"}, environment={})
    assert (found.settings.training.batch_size, found.settings.data.target) == (32, None)
    assert found.settings.training.epochs == 7
    assert found.sources["training.batch_size"].text == "default"


def test_the_written_settings_of_a_run_may_be_given_again(tmp_path: Path) -> None:
    written = tmp_path / "settings.toml"
    write_settings(Settings(training=TrainingConfig(train="gan.py")), written)
    found = resolve_settings(settings_file=written, environment={}, use_user_file=False)
    assert found.settings.training.train == "gan.py"


@pytest.mark.parametrize("model_type", ["memory", "net.py:model"])
def test_a_model_and_a_training_function_are_an_error(model_type: str) -> None:
    settings = Settings(training=TrainingConfig(train="gan.py", model_type=model_type))
    with pytest.raises(SettingsError, match="trains instead of a built-in or custom model; give one of the two"):
        require_no_unused(settings)


def test_a_training_function_cannot_be_swept() -> None:
    with pytest.raises(SettingsError, match="a run has one training function"):
        resolve_settings(sweeps=["training.train=a.py,b.py"], environment={}, use_user_file=False)


@pytest.mark.parametrize(
    ("train", "word"),
    [
        ("work/gan.py", "gan"),
        ("work/gan.py:train", "gan"),
        ("work/gan.py:adversarial", "adversarial"),
        ("pkg.loops:train", "pkg_loops"),
        ("pkg.loops:rl", "rl"),
        ("model.py", "model"),
    ],
)
def test_models_are_named_for_the_training_function(train: str, word: str) -> None:
    settings = Settings(training=TrainingConfig(train=train), run=RunSettings(models=2), sweep={"model.lr": (0.1, 0.2)})
    assert list(run_models.names(settings)) == [f"cognate_{word}_{index}" for index in (1, 2, 3, 4)]
    assert [model.name for model in run_models.new_models(settings)] == list(run_models.names(settings))
    assert run_models.type_words(settings) == word
