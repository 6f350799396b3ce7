"""The flags made from the schema."""

from __future__ import annotations

import argparse
import shlex

import pytest

from forge_tui.errors import SettingsError
from forge_tui.settings.flags import add_flags, add_source_flags, flag_values
from forge_tui.settings.schema import fields_of
from forge_tui.settings.setting_layers import resolve_settings


def parser(names: list[str] | None = None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(allow_abbrev=False)
    add_source_flags(made)
    add_flags(made, names)
    return made


def test_every_setting_has_its_flag() -> None:
    arguments: list[str] = []
    expected: dict[str, str | bool] = {}
    for key in fields_of():
        arguments += [key.flag] if key.is_switch else [key.flag, "x"]
        expected[key.key] = True if key.is_switch else "x"

    assert flag_values(parser().parse_args(arguments)) == expected


def test_a_flag_that_is_not_given_leaves_nothing() -> None:
    namespace = parser().parse_args([])

    assert flag_values(namespace) == {}
    assert vars(namespace) == {"settings": None, "preset": None, "set": [], "sweep": [], "space": []}


def test_flags_reach_the_settings() -> None:
    line = (
        "--mode parallel --workers 5 --max-time 9 --engine local --seed 4 --no-normalise --betas 0.5,0.75"
        " --preset dedicated --set training.epochs=6"
    )
    namespace = parser().parse_args(shlex.split(line))

    resolved = resolve_settings(
        environment={}, preset=namespace.preset, flags=flag_values(namespace), assignments=namespace.set,
        use_user_file=False,
    )  # fmt: skip

    training = resolved.settings.training
    assert (training.training_mode, training.max_parallel_workers, training.epochs) == ("parallel", 5, 6)
    assert training.betas == (0.5, 0.75)
    assert (resolved.settings.run.max_seconds, resolved.settings.run.seed) == (9.0, 4)
    assert resolved.settings.data.normalise is False
    assert resolved.settings.resources.policy == "dedicated"


@pytest.mark.parametrize("sign", ["*", "+", "-", "/"])
def test_a_sign_alone_is_a_value(sign: str) -> None:
    flags = flag_values(parser().parse_args(["--operation", sign, "--seed", "4"]))

    settings = resolve_settings(environment={}, flags=flags, use_user_file=False).settings
    assert (settings.data.operation, settings.run.seed) == (sign, 4)


def test_assignments_of_one_parse_do_not_leak_into_the_next() -> None:
    made = parser()
    made.parse_args(["--set", "a=1"])

    assert made.parse_args([]).set == []


def test_a_wrong_value_is_told_by_the_name_of_its_flag() -> None:
    namespace = parser().parse_args(["--epochs", "0", "--seed", "-1", "--threads", "many", "--mode", "fast"])

    with pytest.raises(SettingsError) as caught:
        resolve_settings(environment={}, flags=flag_values(namespace), use_user_file=False)

    assert str(caught.value).splitlines() == [
        "--epochs 0: must be at least 1",
        "--mode fast: must be 'series' or 'parallel'",
        "--seed -1: must be at least 0",
        "--threads many: must be a whole number or 'auto'",
    ]


def test_only_the_named_flags_are_added() -> None:
    made = parser(["training.epochs"])

    assert flag_values(made.parse_args(["--epochs", "5"])) == {"training.epochs": "5"}
    with pytest.raises(SystemExit):
        made.parse_args(["--seed", "5"])
    with pytest.raises(SettingsError, match=r"unknown key training\.epoch; did you mean training\.epochs"):
        parser(["training.epoch"])


def test_the_help_tells_values_and_defaults_on_any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    told = " ".join(parser().format_help().split())

    assert told.isascii()
    assert "--epochs N passes over the training data (at least 1; default 100)" in told
    assert "--mode WORD one model after another, or several at once (series, parallel; default series)" in told
    assert "met to within 5 % (1000 to 1000000000; default 100000)" in told
    assert "settings that ship with forge-tui: default, dedicated, grokking, grokking-fast, headless, parallel" in told
