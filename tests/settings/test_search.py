"""`[search]`: read from files, flags and variables, checked, and the ranges that it makes."""

from __future__ import annotations

import importlib.util
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from forge_tui.errors import SettingsError, UsageError
from forge_tui.settings.config_rows import config_rows
from forge_tui.settings.files import read_settings, settings_text, write_settings
from forge_tui.settings.schema import Settings, from_plain, keys_by_name, to_plain
from forge_tui.settings.search import require_search
from forge_tui.settings.setting_layers import Layer, Resolved, resolve_settings
from forge_tui.settings.space import Choices, Range, dimensions, full_names, space_key
from forge_tui.settings.sweep import with_combination

SPACE = {"training.learning_rate": "1e-5..1e-1:log", "training.batch_size": (16, 32, 64), "model.width": "64..512:int"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(content: str) -> Settings:
    Path("settings.toml").write_text(content, encoding="utf-8")
    return read_settings("settings.toml")


def resolved(*spaces: str, **more: Any) -> Resolved:
    flags = {"search.method": "random", **more.pop("flags", {})}
    return resolve_settings(environment=more.pop("environment", {}), flags=flags, spaces=spaces, **more)


def searched(**space: Any) -> Settings:
    return from_plain({"search": {"method": "random", "trials": 2, "space": space}})


@pytest.mark.parametrize(
    "space",
    [
        '[search.space]\nlearning_rate = "1e-5..1e-1:log"\nbatch_size = [16, 32, 64]\nmodel.width = "64..512:int"\n',
        '[search.space]\n"training.learning_rate" = "1e-5..1e-1:log"\nbatch_size = [16, 32, 64]\n'
        '"model.width" = "64..512:int"\n',
        'space = { learning_rate = "1e-5..1e-1:log", training.batch_size = [16, 32, 64], model.width = "64..512:int" }',
    ],
    ids=["own names", "in quotes", "inline"],
)
def test_a_key_may_be_named_in_each_of_tomls_ways(space: str) -> None:
    settings = read(f'[search]\nmethod = "tpe"\ntrials = 12\n{space}')
    assert (settings.search.method, settings.search.trials, settings.search.space) == ("tpe", 12, SPACE)


def test_what_is_written_is_read_back_the_same(here: Path) -> None:
    given = {"search": {"method": "tpe", "trials": 9, "space": {**SPACE, "betas": [[0.9, 0.99], [0.8, 0.9]]}}}
    settings = from_plain(given)
    write_settings(settings, here / "a.toml")
    assert read_settings(here / "a.toml") == settings
    assert from_plain(json.loads(json.dumps(to_plain(settings)))) == settings
    assert "[search.space]" in settings_text(settings)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("learning_rate", "1e-5..1e-1:log", Range(1e-5, 0.1, log=True)),
        ("learning_rate", "0.5..1", Range(0.5, 1.0)),
        ("batch_size", "16..256", Range(16, 256, whole=True)),
        ("model_size", "10k..1M:log", Range(10_000, 1_000_000, log=True, whole=True)),
        ("model.width", "64..512:int", Range(64, 512, whole=True)),
        ("model.width", "64..512:log:int", Range(64, 512, log=True, whole=True)),
        ("model.dropout", "0..0.5", Range(0.0, 0.5)),
        ("model.shift", "-1.5..-0.5", Range(-1.5, -0.5)),
        ("model.name", ["a/../b", "../c"], Choices(("a/../b", "../c"))),
        ("betas", [[0.9, 0.99], [0.8, 0.9]], Choices(((0.9, 0.99), (0.8, 0.9)))),
    ],
)
def test_a_range_is_of_the_numbers_that_its_setting_takes(key: str, value: Any, expected: Any) -> None:
    found = space_key(key, keys_by_name())
    assert found.dimension(value) == expected
    text = value if isinstance(value, str) else None
    assert text is None or found.parse(text) == text


def test_a_list_in_a_flag_is_one_as_in_a_sweep() -> None:
    settings = resolved("batch_size=16,32", "optimizer=adam,sgd", "model.kind=a/../b,c", flags={"search.trials": "3"})
    assert settings.settings.search.space == {
        "training.batch_size": (16, 32), "training.optimizer": ("adam", "sgd"), "model.kind": ("a/../b", "c"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("learning_rate=1e-1..1e-5", "--space learning_rate=1e-1..1e-5: the lower end comes first"),
        ("learning_rate=0..1:log", "--space learning_rate=0..1:log: 0.0 must be greater than 0"),
        ("model.rate=0..1:log", "--space model.rate=0..1:log: a logarithmic range begins above 0, not at 0.0"),
        ("learning_rate=1e-5..11", "11.0 must be at most 10"),
        ("batch_size=1.5..8", "1.5 is not a whole number"),
        ("learning_rate=1e-5..x", "x is not a number"),
        ("learning_rate=1e-5..1:lin", "lin after the colon; a range may be :log, :int or both"),
        ("optimizer=1..2", "only numbers have a range; list the values of training.optimizer"),
        ("batch_size=16", "one value is no choice; give several"),
        ("batch_size=16,16", "16 is given twice"),
        ("batch_size", "--space batch_size: write KEY=LOW..HIGH or KEY=VALUE,VALUE"),
        ("batchsize=1..2", "unknown key search.space.batchsize; did you mean training.batch_size?"),
        ("epochs=1..5", "training.epochs cannot be searched: all models of a run have as many epochs"),
        ("samples=10..20", "data.samples cannot be searched: trials are compared on the same data"),
        ("dataset=a.csv,b.csv", "training.dataset cannot be searched: trials are compared on the same data"),
        ("model_type=planner,memory", "training.model_type cannot be searched: models are named after it"),
        (
            "resources.threads=1,2",
            "resources.threads cannot be searched: settings of [training], [data] and [model]",
        ),
    ],
)
def test_a_wrong_space_is_named_with_what_is_allowed(space: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolved(space)
    assert message in str(caught.value)


def test_a_problem_in_a_file_names_its_line() -> None:
    with pytest.raises(SettingsError) as caught:
        read('[search]\nmethod = "random"\n[search.space]\nlearning_rate = "3..2"\nepochs = [1, 2]\n')
    first, second = str(caught.value).split("\n")
    assert first.startswith('settings.toml, line 4: search.space.training.learning_rate = "3..2": the lower end')
    assert second.startswith("settings.toml, line 5: training.epochs cannot be searched")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"spaces": ["batch_size=8,16"]},
            "search.space has training.batch_size, and nothing searches it",
        ),
        ({"flags": {"search.trials": "7"}}, "search.trials = 7: there is no search"),
        ({"flags": {"search.method": "tpe"}}, "search.method = tpe: there is nothing to search; give --space"),
        (
            {"flags": {"search.method": "random"}, "sweeps": ["batch_size=8,16"], "spaces": ["learning_rate=0.1..1"]},
            "a search tries values in place of a sweep of training.batch_size: give them to the search",
        ),
        (
            {"flags": {"search.method": "random"}, "spaces": ["batch_size=8,16", "normalise=true,false"]},
            "search.trials = 40: the space has 4 different configs, and none is trained twice; give --trials 4",
        ),
        (
            {"flags": {"search.method": "random", "training.batch_size": "4"}, "spaces": ["batch_size=8,16"]},
            "training.batch_size is given one value and searched by --space; give one of them",
        ),
        (
            {"flags": {"search.method": "random"}, "spaces": ["batch_size=8,16", "training.batch_size=1..2"]},
            "--space: training.batch_size is given twice",
        ),
        (
            {"flags": {"search.method": "random", "run.models": "5000"}, "spaces": ["learning_rate=0.1..1"]},
            "search.trials: 40 trials × 5,000 models of each (run.models) are 200,000; at most 100,000",
        ),
        (
            {"flags": {"search.method": "random"}, "spaces": ["learning_rate=0.1..1", "model.learning_rate=1..2"]},
            "training.learning_rate is searched too, and both are called learning_rate in tables",
        ),
        (
            {"flags": {"search.method": "random", "training.train": "a.py"}, "spaces": ["learning_rate=0.1..1"]},
            "search a parameter of the function instead, such as --space model.learning_rate=LOW..HIGH",
        ),
        ({"environment": {"FORGE_TUI_SEARCH__SPACE__MOD": "1,2"}}, "FORGE_TUI_SEARCH__SPACE__MOD: unknown key"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve_settings(**{"environment": {}, **arguments})
    assert message in str(caught.value)


def test_the_layers_are_merged_key_by_key_and_each_source_is_told() -> None:
    Path("file.toml").write_text(
        '[search]\nmethod = "random"\n[search.space]\nlearning_rate = "0.1..0.2"\nbatch_size = [8, 16]\n', "utf-8"
    )
    found = resolved(
        "learning_rate=1e-3..1e-1:log",
        settings_file="file.toml",
        environment={"FORGE_TUI_SEARCH__SPACE__WEIGHT_DECAY": "0,0.1", "FORGE_TUI_SEARCH__TRIALS": "5"},
        assignments=["search.space.model.width=8..16:int"],
    )
    assert found.settings.search.space == {
        "training.learning_rate": "1e-3..1e-1:log", "training.batch_size": (8, 16),
        "training.weight_decay": (0.0, 0.1), "model.width": "8..16:int",
    }  # fmt: skip
    rows = {key: (value, source) for key, value, source in config_rows(found)}
    assert rows["search.space.training.learning_rate"] == ('"1e-3..1e-1:log"', "--space")
    assert rows["search.space.training.batch_size"] == ("[8, 16]", "file.toml, line 5")
    assert rows["search.trials"] == ("5", "FORGE_TUI_SEARCH__TRIALS")
    assert found.sources["search.space.training.weight_decay"].layer is Layer.ENVIRONMENT


def test_one_value_of_a_later_layer_ends_a_search_of_its_setting() -> None:
    Path("file.toml").write_text('[search]\nspace = { learning_rate = "0.1..1", batch_size = [8, 9] }\n', "utf-8")
    found = resolved(settings_file="file.toml", flags={"training.batch_size": "3", "search.trials": "2"})
    assert found.settings.search.space == {"training.learning_rate": "0.1..1"}
    assert found.settings.training.batch_size == 3
    assert "search.space.training.batch_size" not in found.sources


def test_each_trial_has_one_seed_unless_somebody_says_more() -> None:
    assert resolved("learning_rate=0.1..1").settings.run.models == 1
    assert resolved("learning_rate=0.1..1", flags={"run.models": "3"}).settings.run.models == 3
    assert resolve_settings(environment={}).settings.run.models == 3


def test_the_users_own_number_of_trials_waits_for_a_search() -> None:
    Path("user.toml").write_text("[search]\ntrials = 9\n", "utf-8")
    assert resolve_settings(environment={}, user_file="user.toml").settings.search.trials == 40
    assert resolved("learning_rate=0.1..1", user_file="user.toml").settings.search.trials == 9


def test_tpe_without_optuna_is_refused_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = resolved("learning_rate=0.1..1", flags={"search.method": "tpe"}).settings
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "optuna" else find(name))
    with pytest.raises(UsageError, match=r"Optuna is not installed here; pip install 'forge-tui\[search\]'"):
        require_search(settings)
    require_search(resolved("learning_rate=0.1..1").settings)


@pytest.mark.parametrize(("version", "is_old"), [("4.5.0", True), ("5.0.0", False), ("11.2", False)])
def test_an_older_optuna_is_refused(version: str, is_old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = resolved("learning_rate=0.1..1", flags={"search.method": "tpe"}).settings
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(metadata, "version", lambda name: version)
    if not is_old:
        require_search(settings)
        return
    with pytest.raises(UsageError, match=r"Optuna 4\.5\.0 is installed, and 5\.0 or newer is needed"):
        require_search(settings)


def test_a_models_settings_have_its_values_and_no_search() -> None:
    plain = to_plain(searched(learning_rate="0.1..1", batch_size=[8, 16]))
    own = from_plain(with_combination(plain, {"training.learning_rate": 0.25, "training.batch_size": 8}))
    assert (own.training.learning_rate, own.training.batch_size) == (0.25, 8)
    assert own.search == Settings().search
    assert plain["search"]["space"], "the run's own stay"


@pytest.mark.parametrize(
    ("dimension", "shares", "expected"),
    [
        (Range(0.0, 10.0), (0.0, 0.25, 0.999999), (0.0, 2.5, 10.0)),
        (Range(1e-4, 1e-2, log=True), (0.0, 0.5, 0.999999), (1e-4, 1e-3, 1e-2)),
        (Range(3, 6, whole=True), (0.0, 0.24, 0.26, 0.76, 0.999999), (3, 3, 4, 6, 6)),
        (Range(1, 4, log=True, whole=True), (0.0, 0.999999), (1, 4)),
        (Choices(("a", "b", "c")), (0.0, 0.34, 0.999999), ("a", "b", "c")),
    ],
)
def test_shares_of_a_range_are_values_of_it(
    dimension: Any, shares: tuple[float, ...], expected: tuple[Any, ...]
) -> None:
    found = tuple(dimension.at(share) for share in shares)
    assert found == tuple(one if isinstance(one, str | int) else pytest.approx(one, rel=1e-4) for one in expected)
    assert all(dimension.has(one) for one in found)


def test_fractions_are_rounded_to_what_is_shown_unless_the_range_is_narrow() -> None:
    assert Range(1e-5, 0.1, log=True).rounded(0.00058187669) == 0.0005819
    assert Range(0.0, 1.0).rounded(0.123449) == 0.1234
    assert Range(1000.0, 1001.0).rounded(1000.123456) == 1000.12346
    assert Range(0.12342, 0.9).rounded(0.12343) == 0.12342, "never outside"
    narrow = Range(1.0, 1.0 + 1e-13)
    assert narrow.rounded(1.0 + 5e-14) == 1.0 + 5e-14


@pytest.mark.parametrize(
    ("dimension", "no_members"),
    [
        (Range(3, 6, whole=True), (2, 7, 3.5, True, "4", None)),
        (Range(0.5, 1.0), (0.4, 1.1, "1")),
        (Choices((1, True, (0.9, 0.99))), (1.5, 0, [0.9], None)),
    ],
)
def test_other_values_are_none_of_it(dimension: Any, no_members: tuple[Any, ...]) -> None:
    assert not any(dimension.has(one) for one in no_members)


def test_short_names_lead_back_to_full_ones() -> None:
    settings = searched(learning_rate="0.1..1", **{"model.width": "8..16:int"})
    assert full_names(settings, {"learning_rate": 0.5, "width": 9}) == {
        "training.learning_rate": 0.5, "model.width": 9,
    }  # fmt: skip
    assert full_names(settings, {}) == {}
    assert dimensions(settings)["model.width"] == Range(8, 16, whole=True)
