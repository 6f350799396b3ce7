"""`[sweep]`: read from files, flags and variables, checked by the schema, and the combinations that it makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forge_tui.errors import SettingsError
from forge_tui.settings.config_rows import config_rows
from forge_tui.settings.files import read_settings, write_settings
from forge_tui.settings.schema import RunSettings, Settings, from_plain, to_plain
from forge_tui.settings.setting_layers import Layer, resolve_settings
from forge_tui.settings.sweep import combination_at, combination_count, likeness, with_combination

RATES = {"training.learning_rate": (0.001, 0.003)}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(content: str) -> Settings:
    Path("settings.toml").write_text(content, encoding="utf-8")
    return read_settings("settings.toml")


@pytest.mark.parametrize(
    "content",
    [
        "[sweep]\nlearning_rate = [0.001, 0.003]\n",
        '[sweep]\n"training.learning_rate" = [0.001, 0.003]\n',
        "[sweep]\ntraining.learning_rate = [0.001, 0.003]\n",
        "sweep = { learning_rate = [0.001, 0.003] }\n",
    ],
    ids=["own name", "full name in quotes", "dotted", "inline"],
)
def test_a_key_may_be_named_in_each_of_tomls_ways(content: str) -> None:
    assert read(content).sweep == RATES


def test_what_is_written_is_read_back_the_same(here: Path) -> None:
    settings = from_plain({"sweep": {"model_type": ["planner", "memory"], "betas": [[0.9, 0.99], [0.8, 0.9]]}})
    write_settings(settings, here / "a.toml")
    assert read_settings(here / "a.toml") == settings
    assert list(read_settings(here / "a.toml").sweep) == ["training.model_type", "training.betas"]
    assert from_plain(json.loads(json.dumps(to_plain(settings)))) == settings


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("learning_rate = [0.001, -1]", "sweep.training.learning_rate = [0.001, -1]: -1 must be greater than 0"),
        ("model_size = [2000, 10]", "sweep.training.model_size = [2000, 10]: 10 must be at least 1000"),
        ("learning_rate = 0.1", "sweep.training.learning_rate = 0.1: must be a list of at least one value, such as"),
        ("batch_size = []", "sweep.training.batch_size = []: must be a list of at least one value"),
        ("batch_size = [8, 16, 8]", "sweep.training.batch_size = [8, 16, 8]: 8 is given twice"),
        ("learning_rat = [0.1]", "unknown key sweep.learning_rat; did you mean training.learning_rate?"),
        ("xyzzy = [0.1]", "unknown key sweep.xyzzy; name a setting of [training] or [data]"),
        ("epochs = [1, 2]", "training.epochs cannot be swept: all models of a run have as many epochs"),
        (
            '"resources.threads" = [1]',
            "resources.threads cannot be swept: settings of [training], [data] and [model] can",
        ),
        ('batch_size = [8]\n"training.batch_size" = [9]', "sweep.training.batch_size: is given twice"),
    ],
)
def test_a_problem_names_file_line_key_value_and_what_is_allowed(line: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(f"[run]\nmodels = 2\n[sweep]\n{line}\n")
    number = 4 + line.count("\n")
    assert str(caught.value).startswith(f"settings.toml, line {number}: {message}")


def test_more_models_than_a_run_may_have_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(SettingsError) as caught:
        from_plain({"run": {"models": 1_000}, "sweep": {"batch_size": list(range(1, 102))}})
    assert str(caught.value) == (
        "sweep: 101 of training.batch_size × 1000 models of each (run.models) are 101,000; at most 100,000"
    )
    from_plain({"run": {"models": 1_000}, "sweep": {"batch_size": list(range(1, 101))}})


def test_the_layers_are_merged_key_by_key_and_each_source_is_told() -> None:
    Path("file.toml").write_text("[sweep]\nlearning_rate = [0.1, 0.2]\nbatch_size = [8, 16]\n", encoding="utf-8")
    resolved = resolve_settings(
        settings_file="file.toml",
        environment={"FORGE_TUI_SWEEP__WEIGHT_DECAY": "0,0.1"},
        sweeps=["learning_rate=0.001,0.003"],
        assignments=["sweep.optimizer=adam,sgd"],
    )
    assert resolved.settings.sweep == {
        **RATES, "training.batch_size": (8, 16), "training.weight_decay": (0.0, 0.1),
        "training.optimizer": ("adam", "sgd"),
    }  # fmt: skip
    rows = {key: (value, source) for key, value, source in config_rows(resolved)}
    assert rows["sweep.training.learning_rate"] == ("[0.001, 0.003]", "--sweep")
    assert rows["sweep.training.batch_size"] == ("[8, 16]", "file.toml, line 3")
    assert resolved.sources["sweep.training.weight_decay"].layer is Layer.ENVIRONMENT


def test_one_value_of_a_later_layer_ends_a_sweep() -> None:
    Path("file.toml").write_text("[training]\nbatch_size = 4\n[sweep]\nlearning_rate = [0.1]\nbatch_size = [8]\n")
    assert resolve_settings(settings_file="file.toml", environment={}).settings.sweep.keys() == {
        "training.learning_rate", "training.batch_size",
    }  # fmt: skip
    resolved = resolve_settings(settings_file="file.toml", environment={}, flags={"training.learning_rate": "0.5"})
    assert resolved.settings.sweep == {"training.batch_size": (8,)}
    assert resolved.settings.training.learning_rate == 0.5
    assert "sweep.training.learning_rate" not in resolved.sources


def test_lists_in_lists_are_given_as_toml_writes_them() -> None:
    resolved = resolve_settings(environment={}, sweeps=["betas=[[0.9, 0.99], [0.8, 0.9]]", "model_type=planner,memory"])
    assert resolved.settings.sweep["training.betas"] == ([0.9, 0.99], [0.8, 0.9])
    assert resolved.settings.sweep["training.model_type"] == ("planner", "memory")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sweeps": ["learning_rate"]}, "--sweep learning_rate: write KEY=VALUE,VALUE, such as --sweep learning_rate="),
        ({"sweeps": ["learning_rate=0.1,x"]}, "--sweep learning_rate=0.1,x: "),
        (
            {"sweeps": ["batchsize=1"]},
            "--sweep batchsize=1: unknown key sweep.batchsize; did you mean training.batch_size?",
        ),
        (
            {"sweeps": ["batch_size=8"], "flags": {"training.batch_size": "9"}},
            "training.batch_size is given one value and swept by --sweep; give one of them",
        ),
        (
            {"sweeps": ["batch_size=8", "training.batch_size=9"]},
            "--sweep: training.batch_size is given twice; give all its values at once",
        ),
        ({"environment": {"FORGE_TUI_SWEEP__MOD": "1"}}, "FORGE_TUI_SWEEP__MOD: unknown key sweep.mod"),
    ],
)
def test_a_wrong_sweep_is_named_by_its_flag_or_variable(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve_settings(**{"environment": {}, **arguments})
    assert str(caught.value).startswith(message)


def test_the_last_keys_value_changes_fastest() -> None:
    sweep = {"training.optimizer": ("adam", "sgd"), "training.batch_size": (8, 16, 32)}
    found = [tuple(combination_at(sweep, number).values()) for number in range(combination_count(sweep))]
    assert found == [("adam", 8), ("adam", 16), ("adam", 32), ("sgd", 8), ("sgd", 16), ("sgd", 32)]
    assert list(combination_at(sweep, 4)) == list(sweep)
    assert combination_count({}) == 1
    assert combination_at({}, 0) == {}


def test_a_models_settings_are_its_runs_with_its_own_values_and_nothing_swept() -> None:
    plain = to_plain(Settings(run=RunSettings(seed=7), sweep={"training.betas": ((0.8, 0.9),), **RATES}))
    own = from_plain(with_combination(plain, {"training.betas": (0.8, 0.9), "training.learning_rate": 0.003}))
    assert (own.training.betas, own.training.learning_rate, own.run.seed, own.sweep) == ((0.8, 0.9), 0.003, 7, {})
    assert plain["training"]["learning_rate"] == 0.001


def test_models_that_differ_in_rate_and_decay_alone_are_alike() -> None:
    one = {"training.learning_rate": 0.1, "training.batch_size": 8, "training.weight_decay": 0.0}
    assert likeness(one) == likeness({**one, "training.learning_rate": 0.2, "training.weight_decay": 0.1})
    assert likeness(one) != likeness({**one, "training.batch_size": 16})
