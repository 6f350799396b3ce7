"""Where models are trained, in the settings: a word or a list of GPUs, and what fits what is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge_tui.errors import SettingsError
from forge_tui.settings.devices import require_devices_fit
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import (
    ResourceSettings,
    RunSettings,
    Settings,
    TrainingConfig,
    from_plain,
    keys_by_name,
    to_plain,
)
from forge_tui.settings.setting_layers import resolve_settings

KEY = keys_by_name()["resources.device"]
UUID = "GPU-5f2a6c1e-0000-0000-0000-000000000000"


def of_flag(text: str, **more: str) -> Settings:
    flags = {"resources.device": text, **more}
    return resolve_settings(environment={}, flags=flags, use_user_file=False).settings


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("auto", "auto"),
        ("cuda", "cuda"),
        ("0", ("0",)),
        ("0,1", ("0", "1")),
        (" 2 , 0 ", ("2", "0")),
        ("[0, 1]", ("0", "1")),
        (UUID, (UUID,)),
        ("GPU-5f2a,MIG-77", ("GPU-5f2a", "MIG-77")),
        (f'["{UUID}", 1]', (UUID, "1")),
    ],
)
def test_a_device_on_the_command_line_is_a_word_or_a_list(text: str, device: object) -> None:
    assert of_flag(text).resources.device == device


@pytest.mark.parametrize(
    ("toml", "device"),
    [("'cpu'", "cpu"), ("[0, 1]", ("0", "1")), ("['0', 'gpu-5f2a']", ("0", "gpu-5f2a"))],
)
def test_a_device_in_a_file_is_a_word_or_a_list(tmp_path: Path, toml: str, device: object) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"[resources]\ndevice = {toml}\n", encoding="utf-8")
    found = resolve_settings(settings_file=file, environment={}, use_user_file=False).settings
    assert found.resources.device == device


@pytest.mark.parametrize(
    "value", ["gpu", "cuda:0", ["gpu"], [], [True], [0.0], [-1], ["GPU-"], ["0", "x"], [["0"]], 0, None, ["GPU-\x1b"]]
)
def test_anything_else_is_refused_with_what_is_allowed(value: object) -> None:
    problem = KEY.problem(value)
    assert problem is not None
    assert problem.startswith("must be auto, cpu, cuda, mps or a list of GPUs: CUDA's indices (0,1) or UUIDs")


def test_a_wrong_word_on_the_command_line_is_told_by_its_flag() -> None:
    with pytest.raises(SettingsError, match=r"--device.*must be auto, cpu, cuda, mps or a list of GPUs"):
        of_flag("gpu")


def test_a_list_stays_through_records_and_files(tmp_path: Path) -> None:
    settings = Settings(resources=ResourceSettings(device=("0", UUID)))
    assert from_plain(to_plain(settings)) == settings
    write_settings(settings, tmp_path / "settings.toml")
    again = resolve_settings(settings_file=tmp_path / "settings.toml", environment={}, use_user_file=False)
    assert again.settings.resources.device == ("0", UUID)


FUNCTION = TrainingConfig(train="gan.py")
COMMAND = RunSettings(command=("python", "train.py"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(resources=ResourceSettings(device="mps")), "resources.device = .*sums losses in float64"),
        (
            Settings(resources=ResourceSettings(devices_per_model=2)),
            "devices_per_model = 2: .*on one GPU; only training",
        ),
        (Settings(resources=ResourceSettings(cpus_per_model=4)), r"cpus_per_model = 4: .*as a worker has threads"),
        (
            Settings(training=FUNCTION, resources=ResourceSettings(device="cpu", devices_per_model=2)),
            "with device = cpu a model has no GPUs to share",
        ),
        (
            Settings(run=COMMAND, resources=ResourceSettings(device=("0",), devices_per_model=2)),
            "a model is to have 2 GPUs, and device lists only 1",
        ),
    ],
)
def test_what_does_not_fit_what_is_trained_is_refused_in_words(settings: Settings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        require_devices_fit(settings)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(resources=ResourceSettings(device="cuda")),
        Settings(training=FUNCTION, resources=ResourceSettings(device="mps", cpus_per_model=4)),
        Settings(run=COMMAND, resources=ResourceSettings(device=("0", "1"), devices_per_model=2)),
    ],
)
def test_what_fits_is_taken(settings: Settings) -> None:
    require_devices_fit(settings)


def test_the_place_of_a_setting_that_does_not_fit_is_told(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[resources]\ncpus_per_model = 4\n", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        resolve_settings(
            settings_file=file, flags={"resources.devices_per_model": "2"}, environment={}, use_user_file=False
        )
    lines = str(refused.value).splitlines()
    assert lines[0].startswith("--devices-per-model: the built-in training loop")
    assert lines[1].startswith(f"{file}, line 2: the built-in training loop")


def test_preferences_per_model_play_no_part_for_a_built_in_model(tmp_path: Path) -> None:
    user = tmp_path / "user.toml"
    user.write_text("[resources]\ndevices_per_model = 2\ncpus_per_model = 8\n", encoding="utf-8")
    found = resolve_settings(user_file=user, environment={})
    assert (found.settings.resources.devices_per_model, found.settings.resources.cpus_per_model) == (1, None)
    assert found.sources["resources.cpus_per_model"].text == "default"
    of_function = resolve_settings(user_file=user, flags={"training.train": "gan.py"}, environment={})
    assert of_function.settings.resources.devices_per_model == 2
