"""Custom functions: how they are found and called, and what is said of those that do not fit."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from forge_tui.errors import SettingsError
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig
from forge_tui.training.models.inputs import InputSpec
from forge_tui.training.own_code import load_own_code

INPUTS = InputSpec(features=4, outputs=2)


@pytest.fixture(autouse=True)
def _own_imports() -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith(("net", "own_", "helper", "package_of_mine")):
            del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str, name: str = "net.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write


def settings(tmp_path: Path, model: dict[str, Any] | None = None, **training: Any) -> Settings:
    return Settings(
        training=TrainingConfig(**training), run=RunSettings(python_path=(str(tmp_path),)), model=model or {}
    )


def test_a_model_gets_what_its_parameters_ask_for(write: Any, tmp_path: Path) -> None:
    path = write("""
        from torch import nn
        def model(inputs, model_size, hidden: int, bias=True):
            made = nn.Sequential(nn.Linear(inputs.features, hidden, bias), nn.Linear(hidden, inputs.outputs))
            made.size = model_size
            return made
        def other(inputs):
            return nn.Linear(inputs.features, inputs.outputs)
    """)
    own = load_own_code(settings(tmp_path, {"hidden": 3, "bias": False}, model_type=str(path), model_size=5_000))
    assert own.model is not None
    made = own.model(INPUTS)
    assert [tuple(item.shape) for item in made.parameters()] == [(3, 4), (2, 3), (2,)]
    assert made.size == 5_000
    own = load_own_code(settings(tmp_path, model_type=f"{path}:other"))
    assert own.model is not None
    assert [tuple(item.shape) for item in own.model(INPUTS).parameters()] == [(2, 4), (2,)]
    assert (own.dataset, own.loss) == (None, None)


def test_a_module_is_found_where_the_python_path_says_and_imported_once(write: Any, tmp_path: Path) -> None:
    write("loaded = []", "helper_of_mine.py")
    code = """
        import helper_of_mine
        helper_of_mine.loaded.append(1)
        def data(seed):
            return seed, len(helper_of_mine.loaded)
    """
    write(code, "package_of_mine/parts.py")
    own = load_own_code(settings(tmp_path, dataset="package_of_mine.parts:data"))
    assert own.dataset is not None
    assert own.dataset() == (0, 1)
    again = load_own_code(settings(tmp_path, dataset="package_of_mine.parts:data"))
    assert again.dataset is not None
    assert again.dataset() == (0, 1)
    assert sys.path[-1] == str(tmp_path)


def test_a_dataset_gets_the_seed_and_the_settings_of_the_data(write: Any, tmp_path: Path) -> None:
    path = write(
        "def dataset(seed, samples, validation_fraction, extra=1, **others): return seed, samples, extra, others"
    )
    own = load_own_code(settings(tmp_path, {"extra": 7, "more": "x"}, dataset=str(path)))
    assert own.dataset is not None
    assert own.dataset() == (0, 1_000, 7, {"more": "x"})


def test_a_loss_gets_outputs_and_targets(write: Any, tmp_path: Path) -> None:
    path = write("def loss(outputs, targets, power: float = 2.0): return ((outputs - targets).abs() ** power).mean()")
    own = load_own_code(settings(tmp_path, {"power": 1}, loss=str(path)))
    assert own.loss is not None
    assert own.loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0])).item() == 2.0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "has no function model"),
        ("def modell(inputs): 1", "has no function model; did you mean modell?"),
        ("def model(inputs): return 1", "gives a int; it must give a torch.nn.Module"),
        ("def model(inputs): pass", "gives None; it must give a torch.nn.Module"),
        ("import torch\ndef model(inputs): return torch.nn.ReLU()", "gives a module without parameters"),
        ("def model(inputs):\n  return 1/0", "ZeroDivisionError: division by zero ({net}, line 2)"),
        ("def model(inputs, deep): pass", "needs deep; give it: --set model.deep=…"),
        ("def model(inputs, /, wide): pass", "inputs is positional only"),
        (
            "def model(inputs, wise=1): pass",
            "model.wide: no parameter of --model-type {net} has that name; did you mean",
        ),
        ("def model(inputs, wide: str): pass", "model.wide = 3: must be text"),
        ("def model(inputs, wide: bool): pass", "model.wide = 3: must be true or false"),
        ("def f(:", "cannot be imported: SyntaxError: invalid syntax ({net}, line 1)"),
        ("import nothing_like_it", "module {net} cannot be imported: No module named 'nothing_like_it'"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3 ({net}, line 1)"),
    ],
)
def test_a_model_that_does_not_fit_is_told_in_words(write: Any, tmp_path: Path, code: str, words: str) -> None:
    path = str(write(code))
    values = {"wide": 3} if "wi" in code else {}

    def made() -> None:
        own = load_own_code(settings(tmp_path, values, model_type=path))
        assert own.model is not None
        own.model(INPUTS)

    with pytest.raises(SettingsError) as caught:
        made()
    assert words.format(net=path) in str(caught.value)


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"model_type": "planner"}, "model.wide: the table [model] is for a custom function"),
        ({"model_type": "nowhere.py:f"}, "--model-type nowhere.py:f: there is no such file in {place}"),
        ({"model_type": "no_such.net:f"}, "module no_such.net is not there; modules are looked for among those"),
        ({"loss": "net.py", "label_smoothing": 0.1}, "--label-smoothing has no effect on --loss net.py"),
        ({"loss": "{net}"}, "must take `outputs` and `targets`"),
    ],
)
def test_what_else_does_not_fit(write: Any, tmp_path: Path, training: dict[str, Any], words: str) -> None:
    path = str(write("def loss(outputs, wide): pass"))
    named = {name: path if value == "{net}" else value for name, value in training.items()}
    with pytest.raises(SettingsError) as caught:
        load_own_code(settings(tmp_path, {"wide": 3}, **named))
    assert words.format(place=tmp_path) in str(caught.value)


def test_a_loss_that_is_no_mean_is_told(write: Any, tmp_path: Path) -> None:
    own = load_own_code(settings(tmp_path, loss=str(write("def loss(outputs, targets): return outputs - targets"))))
    assert own.loss is not None
    with pytest.raises(SettingsError, match=r"gives a tensor of shape \(2,\); it must give the mean loss"):
        own.loss(torch.zeros(2), torch.zeros(2))


def test_a_metric_gives_a_number(write: Any, tmp_path: Path) -> None:
    own = load_own_code(settings(tmp_path, metric=str(write("def metric(outputs, targets): return outputs.sum()"))))
    assert own.metric is not None
    assert own.metric(torch.ones(3), torch.zeros(3)) == 3.0
    own = load_own_code(settings(tmp_path, metric=str(write("def metric(outputs, targets): return None", "net_2.py"))))
    assert own.metric is not None
    with pytest.raises(SettingsError, match="gives None; it must give a number"):
        own.metric(torch.ones(3), torch.zeros(3))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("planer", "must be 'planner', 'reasoner' or 'memory' or module:function or file.py:function"),
        ("__main__:net", "put the function into a file and write file.py:function"),
        ("net:", "module:function or file.py:function"),
        (":net", "module:function or file.py:function"),
        ("a b:c", "module:function or file.py:function"),
        (lambda inputs: None, "must be"),
    ],
)
def test_names_that_name_nothing(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match="model_type") as caught:
        TrainingConfig(model_type=value)
    assert words in str(caught.value)


def test_good_names() -> None:
    for name in ("net.py", "net.py:other", "/some where/net.py:f", "package.module:function", "memory"):
        assert TrainingConfig(model_type=name).model_type == name
    assert dataclasses.asdict(TrainingConfig())["loss"] == "auto"
