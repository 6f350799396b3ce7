"""The schema: what may stand, in words; the plain form of settings."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from forge_tui.errors import SettingsError
from forge_tui.settings.schema import (
    ResourceSettings,
    Settings,
    TrainingConfig,
    fields_of,
    from_plain,
    keys_by_name,
    tables,
    to_plain,
)


def test_the_first_twelve_fields_of_the_configuration_stand_in_the_documented_order() -> None:
    config = TrainingConfig("memory", 5000, 0.5, 8, 2, True, 0.5, 1.0, "a.csv", 4, "parallel", 2)

    assert dataclasses.astuple(config)[:12] == (
        "memory", 5000, 0.5, 8, 2, True, 0.5, 1.0, "a.csv", 4, "parallel", 2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs = 0: must be at least 1"),
        ({"epochs": True}, "epochs = true: must be a whole number"),
        ({"epochs": "5"}, 'epochs = "5": must be a whole number'),
        ({"epochs": 2**63}, "epochs = 9223372036854775808: must be at most 9223372036854775807"),
        ({"learning_rate": float("nan")}, "learning_rate = nan: must be a finite number"),
        ({"learning_rate": 11}, "learning_rate = 11: must be at most 10"),
        ({"grokfast_alpha": 1.0}, "grokfast_alpha = 1.0: must be less than 1"),
        (
            {"model_type": "planer"},
            "model_type = \"planer\": must be 'planner', 'reasoner' or 'memory' or module:function or file.py:function",
        ),
        ({"dataset": ""}, 'dataset = "": must not be empty'),
        ({"dataset": "\udcff"}, 'dataset = "\\udcff": must be text in UTF-8'),
        ({"betas": (0.9, 1.0)}, "betas = [0.9, 1.0]: item 2 must be less than 1"),
        ({"betas": (0.9, 0.9, 0.9)}, "betas = [0.9, 0.9, 0.9]: must have 2 items"),
        ({"epoch": 3}, "TrainingConfig has no field 'epoch'; did you mean epochs?"),
    ],
)
def test_a_wrong_value_is_a_value_error_that_names_field_value_and_range(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        TrainingConfig(**arguments)  # type: ignore[arg-type]

    assert str(caught.value) == message


def test_a_wrong_value_given_by_position_is_told_by_its_name() -> None:
    with pytest.raises(SettingsError) as caught:
        TrainingConfig("planner", 10)

    assert str(caught.value) == "model_size = 10: must be at least 1000"


def test_a_value_with_two_forms_names_both() -> None:
    with pytest.raises(SettingsError) as caught:
        ResourceSettings(threads=0)

    assert str(caught.value) == "threads = 0: must be at least 1 or 'auto'"


def test_several_wrong_values_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        TrainingConfig(epochs=0, batch_size=-1)

    assert str(caught.value) == "batch_size = -1: must be at least 1; epochs = 0: must be at least 1"


def test_an_integer_too_long_to_print_is_still_an_error_in_words() -> None:
    with pytest.raises(SettingsError, match=r"^epochs = 0x[0-9a-f]+…: must be at most 9223372036854775807$"):
        TrainingConfig(epochs=10**5000)


def test_the_plain_form_survives_json() -> None:
    settings = Settings(training=TrainingConfig(betas=(0.5, 0.75), epochs=7))

    plain = json.loads(json.dumps(to_plain(settings)))

    assert plain["training"]["betas"] == [0.5, 0.75]
    assert plain["run"]["output"] is None
    assert from_plain(plain) == settings


def test_an_incomplete_plain_form_is_filled_with_defaults() -> None:
    assert from_plain({"training": {"epochs": 7}}) == Settings(training=TrainingConfig(epochs=7))


def test_the_plain_form_is_checked_key_by_key() -> None:
    with pytest.raises(SettingsError) as caught:
        from_plain({"training": {"epochs": 0, "epoch": 3}, "trainng": {}, "run": 5})  # type: ignore[dict-item]

    assert str(caught.value).splitlines() == [
        "training.epochs = 0: must be at least 1",
        "unknown key training.epoch; did you mean training.epochs?",
        "unknown table trainng; did you mean training?",
        "run = 5: must be a table",
    ]


def test_a_value_changed_after_construction_is_checked_again_by_the_plain_form() -> None:
    settings = Settings()
    settings.training.epochs = 0

    with pytest.raises(SettingsError, match=r"^training\.epochs = 0: must be at least 1$"):
        from_plain(to_plain(settings))


def test_every_key_is_described_and_no_two_share_a_flag_or_a_variable() -> None:
    keys = fields_of()

    assert [key.key for key in keys if not key.help or not key.type_words] == []
    assert len({key.flag for key in keys}) == len(keys) == len({key.variable for key in keys})
    assert {key.table for key in keys} == set(tables())


def test_every_default_may_stand() -> None:
    assert {key.key: key.problem(key.default) for key in fields_of() if key.problem(key.default)} == {}


@pytest.mark.parametrize(
    ("name", "flag", "variable", "type_words", "allowed"),
    [
        ("training.training_mode", "--mode", "FORGE_TUI_TRAINING__TRAINING_MODE", "word", "series, parallel"),
        ("training.max_parallel_workers", "--workers", None, "whole number", "at least 1"),
        ("run.max_seconds", "--max-time", "FORGE_TUI_RUN__MAX_SECONDS", "number", "above 0"),
        ("engine.name", "--engine", "FORGE_TUI_ENGINE__NAME", "word", None),
        ("training.model_size", "--model-size", None, "whole number", "1000 to 1000000000"),
        ("training.learning_rate", "--learning-rate", None, "number", "above 0, at most 10"),
        ("training.betas", "--betas", None, "list of 2 numbers", "each at least 0, below 1"),
        ("resources.threads", "--threads", None, "whole number or word", "at least 1 or auto"),
        ("data.prime", "--prime", None, "whole number", "prime, 2 to 1000"),
        ("run.json", "--json", None, "true or false", ""),
    ],
)
def test_a_key_tells_its_names_type_and_range(
    name: str, flag: str, variable: str | None, type_words: str, allowed: str | None
) -> None:
    key = keys_by_name()[name]

    assert key.flag == flag
    assert variable is None or key.variable == variable
    assert key.type_words == type_words
    assert allowed is None or key.allowed == allowed


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("training.epochs", "1_000", 1000),
        ("training.epochs", "five", "five"),
        ("training.epochs", "5.0", "5.0"),
        ("training.epochs", "9" * 5000, "9" * 5000),
        ("training.learning_rate", "1e-3", 0.001),
        ("training.dataset", "5", "5"),
        ("training.betas", "[0.5, 0.75]", [0.5, 0.75]),
        ("training.betas", "0.5,0.75", [0.5, 0.75]),
        ("training.betas", "0.5", [0.5]),
        ("training.betas", "0.5]\nother = [1", "0.5]\nother = [1"),
        ("run.python_path", "/code", ["/code"]),
        ("run.python_path", "/code, ../mine", ["/code", "../mine"]),
        ("run.python_path", '"/a,b", "c"', ["/a,b", "c"]),
        ("run.python_path", "", []),
        ("run.on_finish", '["notify-send", "{run}"]', ["notify-send", "{run}"]),
        ("run.on_finish", '["notify-send', '["notify-send'),
        ("resources.threads", "auto", "auto"),
        ("training.model_size", "100k", 100_000),
        ("training.model_size", "2.5M", 2_500_000),
        ("training.model_size", "1e6", 1_000_000),
        ("training.model_size", "1G", 1_000_000_000),
        ("training.model_size", "1.0005k", "1.0005k"),
        ("training.model_size", "100K", "100K"),
        ("training.model_size", "1e999999999", "1e999999999"),
        ("training.model_size", "k", "k"),
        ("training.learning_rate", "2k", 2000.0),
        ("resources.threads", "4", 4),
        ("resources.memory_per_worker_gb", "measured", "measured"),
        ("resources.memory_per_worker_gb", "4", 4.0),
        ("run.max_seconds", "none", None),
        ("run.output", "none", "none"),
        ("run.json", "true", True),
        ("run.json", "1", "1"),
    ],
)
def test_text_is_parsed_by_the_type_of_its_key(name: str, text: str, value: object) -> None:
    parsed = keys_by_name()[name].parse(text)

    assert parsed == value
    assert type(parsed) is type(value)


def test_importing_the_room_does_not_import_pydantic() -> None:
    check = "import sys, forge_tui, forge_tui.settings, forge_tui.settings.problems, forge_tui.settings.presets;"
    result = subprocess.run(
        [sys.executable, "-c", check + "print(sorted({'pydantic', 'torch', 'textual', 'polars'} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout == "[]\n"


class _Speechless:
    def __str__(self) -> str:
        raise RuntimeError("no words")


_ITSELF: list[object] = []
_ITSELF.append(_ITSELF)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"model": {"a": object()}},
            r"^model\.a = <object object at .*>: must be text, a finite number, true",
        ),
        ({"model": {"a": _Speechless()}}, r"^model\.a = a _Speechless: must be text"),
        ({"model": {"a": {1, 2}}}, r"^model\.a = \{1, 2\}: must be text"),
        ({"model": {"a": b"x"}}, r"^model\.a = b'x': must be text"),
        ({"model": {"a": {"b": 1}}}, r"^model\.a = a table: must be text"),
        ({"model": {"a": float("nan")}}, r"^model\.a = nan: must be text"),
        ({"model": {"a": 1, "b": [1, (object(),)]}}, r"^model\.b = \[1, \[<object"),
        ({"model": {"a": 2**63}}, r"^model\.a = 9223372036854775808: must be"),
        ({"model": {float("nan"): 1}}, r"^model: the name of a key must be text, not nan$"),
        ({"model": {"a\nb": None}}, r"^model\.a\\u000ab = none: must be"),
        ({"model": {"a": object(), "b": b""}}, r"^model\.a = .*; model\.b = b''"),
        ({"sweep": {"training.epochs": {1, 2}}}, r"^sweep\.training\.epochs = \{1, 2\}: must be a list of values$"),
        ({"sweep": {"training.epochs": (object(),)}}, r"^sweep\.training\.epochs = \[<object"),
        ({"sweep": {1: (2,)}}, r"^sweep: the name of a key must be text, not 1$"),
        ({"model": {"a": _ITSELF}}, r"^model\.a = .*: is nested too deeply, or contains itself$"),
    ],
)
def test_what_no_settings_file_can_hold_is_refused_where_it_is_given(given: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings(**given)  # type: ignore[arg-type]


def test_a_value_that_was_changed_since_is_refused_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from forge_tui import client

    monkeypatch.setattr("forge_tui.client.launch._launch", lambda request: pytest.fail("nothing may be started"))
    settings = Settings()
    settings.model["a"] = object()
    with pytest.raises(SettingsError, match=r"model\.a = <object"):
        client.check(settings)
    settings = Settings()
    settings.training.epochs = {1}  # type: ignore[assignment]
    with pytest.raises(SettingsError, match=r"training\.epochs = \{1\}: must be a whole number"):
        client.start(settings)
