"""The layers of settings: which wins, and where each value is said to come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forge_tui.errors import SettingsError
from forge_tui.settings.config_rows import config_rows
from forge_tui.settings.schema import Settings, fields_of
from forge_tui.settings.setting_layers import Layer, Source, resolve_settings, user_settings_file


@pytest.fixture(autouse=True)
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration directory and a working directory of the test's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problem(**arguments: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        resolve_settings(**{"environment": {}, **arguments})
    return str(caught.value).splitlines()


def test_without_any_layer_all_values_are_defaults() -> None:
    resolved = resolve_settings(environment={})

    assert resolved.settings == Settings()
    assert set(resolved.sources.values()) == {Source(Layer.DEFAULT)}
    assert list(resolved.sources) == [key.key for key in fields_of()]


_SEEDS = ("user", "preset", "file", "environment", "flag")


@given(st.sets(st.sampled_from(_SEEDS)))
@settings(max_examples=32, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_any_layers_given_the_highest_wins(own_configuration: Path, layers: set[str]) -> None:
    # The preset `headless` sets run.max_seconds to 84600; every other layer sets its own number.
    Path("user.toml").write_text("[run]\nmax_seconds = 1.0\n" if "user" in layers else "")
    Path("file.toml").write_text("\n[run]\nmax_seconds = 2.0\n" if "file" in layers else "")

    resolved = resolve_settings(
        user_file="user.toml",
        preset="headless" if "preset" in layers else None,
        settings_file="file.toml",
        environment={"FORGE_TUI_RUN__MAX_SECONDS": "3"} if "environment" in layers else {},
        flags={"run.max_seconds": "4"} if "flag" in layers else {},
    )

    expected: list[tuple[float | None, Layer]] = [
        (value, layer)
        for name, value, layer in [
            ("flag", 4.0, Layer.FLAG),
            ("environment", 3.0, Layer.ENVIRONMENT),
            ("file", 2.0, Layer.FILE),
            ("preset", 84600.0, Layer.PRESET),
            ("user", 1.0, Layer.USER),
        ]
        if name in layers
    ] or [(None, Layer.DEFAULT)]
    assert (resolved.settings.run.max_seconds, resolved.sources["run.max_seconds"].layer) == expected[0]


def test_each_source_is_told_with_its_file_and_line(own_configuration: Path) -> None:
    user_file = user_settings_file()
    user_file.parent.mkdir(parents=True)
    user_file.write_text("# mine\n[run]\nseed = 7\n")
    Path("my.toml").write_text("training.epochs = 5\n")

    resolved = resolve_settings(
        preset="dedicated",
        settings_file="my.toml",
        environment={"FORGE_TUI_TRAINING__BATCH_SIZE": "8", "PATH": "/bin", "FORGE_TUX": "1"},
        flags={"training.training_mode": "series", "run.json": True},
        assignments=["resources.threads=2", "resources.threads=4"],
    )

    rows = {key: (value, source) for key, value, source in config_rows(resolved)}
    assert rows["run.seed"] == ("7", f"{user_file}, line 3")
    assert rows["resources.policy"] == ('"dedicated"', "preset dedicated, line 11")
    assert rows["training.epochs"] == ("5", "my.toml, line 1")
    assert rows["training.batch_size"] == ("8", "FORGE_TUI_TRAINING__BATCH_SIZE")
    assert rows["training.training_mode"] == ('"series"', "--mode")
    assert rows["run.json"] == ("true", "--json")
    assert rows["resources.threads"] == ("4", "--set")
    assert rows["training.betas"] == ("[0.9, 0.999]", "default")
    assert rows["run.output"] == ("—", "default")
    assert list(rows) == [key.key for key in fields_of()]


def test_a_missing_user_file_is_no_error_but_a_missing_settings_file_is() -> None:
    assert resolve_settings(environment={}).settings == Settings()
    assert problem(settings_file="no.toml") == ["no.toml: there is no such file; give the path of a TOML file"]


def test_the_users_file_can_be_left_out(own_configuration: Path) -> None:
    user_file = user_settings_file()
    user_file.parent.mkdir(parents=True)
    user_file.write_text("[run]\nseed = -7\n")

    assert resolve_settings(environment={}, use_user_file=False).settings == Settings()
    assert problem() == [f"{user_file}, line 2: run.seed = -7: must be at least 0"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"FORGE_TUI_TRAINING__EPOCHS": "0"}, "FORGE_TUI_TRAINING__EPOCHS=0: must be at least 1"),
        ({"FORGE_TUI_TRAINING__EPOCHS": ""}, "FORGE_TUI_TRAINING__EPOCHS=: must be a whole number"),
        ({"FORGE_TUI_RUN__JSON": "1"}, "FORGE_TUI_RUN__JSON=1: must be true or false"),
        (
            {"FORGE_TUI_TRAINING__EPOCS": "5"},
            "unknown environment variable FORGE_TUI_TRAINING__EPOCS; did you mean FORGE_TUI_TRAINING__EPOCHS?",
        ),
        (
            {"FORGE_TUI_EPOCHS": "5"},
            "unknown environment variable FORGE_TUI_EPOCHS; did you mean FORGE_TUI_TRAINING__EPOCHS?",
        ),
        (
            {"FORGE_TUI_training__epochs": "5"},
            "unknown environment variable FORGE_TUI_training__epochs; did you mean FORGE_TUI_TRAINING__EPOCHS?",
        ),
        (
            {"FORGE_TUI_QQQ": "5"},
            "unknown environment variable FORGE_TUI_QQQ; `forge-tui config` lists all settings",
        ),
        ({"FORGE_TUI_RUN__OUTPUT": "\x1b[2J\udcff"}, None),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], message: str | None) -> None:
    told = problem(environment=environment)

    assert message is None or told == [message]
    assert all(line.isprintable() for line in told)


def test_all_wrong_variables_are_told_at_once() -> None:
    assert problem(environment={"FORGE_TUI_B": "", "FORGE_TUI_RUN__SEED": "x"}) == [
        "unknown environment variable FORGE_TUI_B; `forge-tui config` lists all settings",
        "FORGE_TUI_RUN__SEED=x: must be a whole number",
    ]


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.epochs=0", "--set training.epochs=0: must be at least 1"),
        ("training.epochs", "--set training.epochs: write KEY=VALUE, such as --set training.epochs=5"),
        ("=5", "--set =5: write KEY=VALUE, such as --set training.epochs=5"),
        ("epochs=5", "--set epochs=5: unknown key epochs; did you mean training.epochs?"),
        ("trainng.epoch=5", "--set trainng.epoch=5: unknown key trainng.epoch; did you mean training.epochs?"),
    ],
)
def test_a_wrong_assignment_is_named(assignment: str, message: str) -> None:
    assert problem(assignments=[assignment]) == [message]


def test_an_assignment_keeps_everything_after_the_first_equals_sign() -> None:
    resolved = resolve_settings(environment={}, assignments=["run.output= a=b "])

    assert resolved.settings.run.output == " a=b "


def test_a_flag_and_an_assignment_of_one_key_must_agree() -> None:
    assert problem(flags={"training.epochs": "5"}, assignments=["training.epochs=7"]) == [
        "--epochs 5 and --set training.epochs=7 contradict each other; give one of them"
    ]
    assert resolve_settings(environment={}, flags={"training.epochs": 5}, assignments=["training.epochs=5"])


def test_a_wrong_value_is_told_even_where_a_later_layer_overrides_it() -> None:
    Path("my.toml").write_text("[training]\nepochs = 0\n")

    assert problem(settings_file="my.toml", flags={"training.epochs": "5"}) == [
        "my.toml, line 2: training.epochs = 0: must be at least 1"
    ]


def test_a_preset_with_a_time_limit_can_be_had_without_it() -> None:
    resolved = resolve_settings(environment={}, preset="headless", flags={"run.max_seconds": "none"})

    assert resolved.settings.run.max_seconds is None
    assert resolved.sources["run.max_seconds"] == Source(Layer.FLAG, name="--max-time")


@pytest.mark.parametrize(
    "text", ['[training]\nmodel_type = "net.py"\n', '[sweep]\nmodel_type = ["net.py", "net.py:other"]\n']
)
def test_own_code_that_a_file_names_is_looked_for_beside_it(own_configuration: Path, text: str) -> None:
    (own_configuration / "deep").mkdir()
    (own_configuration / "deep" / "own.toml").write_text(text, encoding="utf-8")
    found = resolve_settings(settings_file="deep/own.toml", environment={})
    assert found.settings.run.python_path == (str(own_configuration / "deep"),)
    assert "own.toml" in found.sources["run.python_path"].text
    flag = resolve_settings(flags={"training.model_type": "net.py"}, environment={})
    assert flag.settings.run.python_path == ()
