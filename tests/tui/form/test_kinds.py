"""What is trained, as the form's first row: what it shows, and what it leaves out of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge_tui.errors import SettingsError
from forge_tui.settings.replacement import require_no_unused
from forge_tui.tui.form.command import command
from forge_tui.tui.form.form_values import Form
from forge_tui.tui.form.functions import functions_in, parameters_of
from forge_tui.tui.form.kinds import Kind, hides
from forge_tui.tui.form.source import FormSource, fill_form, load_file, save_form

TRAIN, MODEL, RATE = "training.train", "training.model_type", "training.learning_rate"


@pytest.fixture
def form() -> Form:
    return fill_form(FormSource(), {}).form


def test_each_kind_shows_what_matters_for_it() -> None:
    assert [kind for kind in Kind if not hides(kind, TRAIN)] == [Kind.FUNCTION]
    assert [kind for kind in Kind if not hides(kind, "run.stop_seconds")] == [Kind.FUNCTION, Kind.COMMAND]
    assert [kind for kind in Kind if not hides(kind, "run.command")] == [Kind.COMMAND]
    assert [kind for kind in Kind if not hides(kind, "run.parse")] == [Kind.COMMAND]
    assert [kind for kind in Kind if not hides(kind, RATE)] == [Kind.BUILT_IN, Kind.CUSTOM]
    assert [kind for kind in Kind if not hides(kind, "data.target")] == [Kind.BUILT_IN, Kind.CUSTOM]
    for name in ("training.epochs", "run.models", "run.seed", "training.max_parallel_workers", "training.select_by"):
        assert not any(hides(kind, name) for kind in Kind), name


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, Kind.BUILT_IN),
        ({"model_type": "memory"}, Kind.BUILT_IN),
        ({"model_type": "net.py:model"}, Kind.CUSTOM),
        ({"model_type": "nets:small"}, Kind.CUSTOM),
        ({"train": "loop.py"}, Kind.FUNCTION),
    ],
)
def test_a_form_begins_with_what_its_settings_train(given: dict[str, str], kind: Kind) -> None:
    assert (
        fill_form(FormSource(flags={f"training.{name}": value for name, value in given.items()}), {}).form.kind is kind
    )


def test_a_swept_model_type_is_a_custom_one_too() -> None:
    assert fill_form(FormSource(sweeps=("model_type=planner,net.py",)), {}).form.kind is Kind.CUSTOM


def test_hidden_settings_are_left_out_of_the_run_and_come_back_with_their_kind(form: Form) -> None:
    form = form.put(RATE, 0.5).put("training.epochs", 7).edit_values("training.optimizer", "adam, sgd")
    form = form.put(TRAIN, "loop.py")
    assert form.kind is Kind.FUNCTION
    settings = form.settings()
    require_no_unused(settings)  # what a start would refuse
    assert (settings.training.train, settings.training.epochs, settings.sweep) == ("loop.py", 7, {})
    assert {key.key for key in form.changed()} == {TRAIN, "training.epochs"}
    assert command(form) == "forge-tui --no-ui --epochs 7 --train loop.py"
    assert form.set_here().keys() == {TRAIN, "training.epochs"}

    back = form.train(Kind.BUILT_IN)
    assert back.settings().training.train == "none"
    assert (back.settings().training.learning_rate, back.sweep()) == (0.5, {"training.optimizer": ["adam", "sgd"]})
    assert back.train(Kind.FUNCTION).settings() == settings


def test_a_kind_without_its_code_is_an_error_beside_its_setting(form: Form) -> None:
    function, custom = form.train(Kind.FUNCTION), form.train(Kind.CUSTOM)
    assert function.errors() == {TRAIN: "choose the function: Enter lists those of a file"}
    assert custom.errors() == {MODEL: "choose the function that makes the network: Enter lists those of a file"}
    with pytest.raises(SettingsError, match="Training function: choose"):
        function.settings()
    assert function.put(TRAIN, "loop.py").errors() == {}
    assert custom.put(MODEL, "net.py").errors() == {}


def test_a_setting_that_names_another_kind_changes_it(form: Form) -> None:
    custom = form.train(Kind.FUNCTION).put(MODEL, "net.py")
    assert custom.kind is Kind.CUSTOM
    assert custom.reset(MODEL).kind is Kind.BUILT_IN
    assert form.put(TRAIN, "loop.py").reset(TRAIN).kind is Kind.FUNCTION, "chosen, and not yet named"
    assert form.put(TRAIN, "loop.py").reset_all().kind is Kind.BUILT_IN


def test_kinds_are_stepped_around(form: Form) -> None:
    seen = [form.kind]
    for by in (1, 1, 1, 1, -1):
        form = form.step_kind(by)
        seen.append(form.kind)
    assert seen == [Kind.BUILT_IN, Kind.CUSTOM, Kind.FUNCTION, Kind.COMMAND, Kind.BUILT_IN, Kind.COMMAND]


def test_a_saved_form_is_read_with_its_kind(form: Form, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    save_form(form.put(RATE, 0.5).put(TRAIN, "loop.py"), path)
    found = load_file(form, path)
    assert (found.kind, found.values[TRAIN]) == (Kind.FUNCTION, "loop.py")
    save_form(form.put(RATE, 0.5), path)
    assert load_file(found, path).kind is Kind.BUILT_IN


def test_the_command_says_where_the_users_own_file_names_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGE_TUI_TRAINING__TRAIN", "loop.py")
    form = fill_form(FormSource(), {}).form
    assert form.kind is Kind.FUNCTION
    assert command(form.train(Kind.BUILT_IN)) == "forge-tui --no-ui --train none"


FILE = '''
"""Loops."""
raise SystemExit("imported")

def train(trial, lr: float = 1e-3, *, depth=2):
    """Train a GAN.

    With two optimizers.
    """

async def later(trial): ...

class Net:
    """A network."""

def _private(): ...

if True:
    def inner(): ...
'''


def test_functions_are_listed_without_importing_the_file(tmp_path: Path) -> None:
    path = tmp_path / "loop.py"
    path.write_text(FILE, encoding="utf-8")
    found = functions_in(path)
    assert found.problem is None
    assert found.functions[0].parameters == {"lr": "0.001", "depth": "2"}
    assert [(one.signature, one.summary) for one in found.functions] == [
        ("train(trial, lr: float=0.001, *, depth=2)", "Train a GAN."),
        ("Net", "A network."),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"def train(:\n", "line 1: "),
        (b"x = 1\n", "has no function"),
        (b"\x00", "cannot be read|null bytes"),
        (b"#" * (1 << 20) + b"\n", "larger than 1 MiB"),
        (None, "there is no such file"),
    ],
)
def test_a_file_without_functions_says_what_is_wrong(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "loop.py"
    if content is not None:
        path.write_bytes(content)
    found = functions_in(path)
    assert found.functions == ()
    assert found.problem is not None
    assert any(words in found.problem for words in problem.split("|")), found.problem


def test_parameters_of_the_function_are_settings(form: Form) -> None:
    form = form.put(TRAIN, "loop.py").with_parameters({"lr": "0.001", "width": None})
    section = form.sections()[1]
    assert (section.title, [key.key for key in section.keys]) == ("Parameters", ["model.lr", "model.width"])
    form = form.edit("model.width", "16").edit_values("model.lr", "0.1, 0.2")
    settings = form.settings()
    assert (settings.model, settings.sweep) == ({"width": 16}, {"model.lr": (0.1, 0.2)})
    assert command(form) == "forge-tui --no-ui --train loop.py --sweep model.lr=0.1,0.2 --set model.width=16"
    assert form.step("model.width", 1).settings().model == {"width": 17}
    bare = form.reset("model.lr").edit("model.width", " ")
    assert bare.errors() == {"model.width": "give a value: it has no default"}
    assert bare.plain() == form.reset_all().put(TRAIN, "loop.py").plain()
    assert form.train(Kind.BUILT_IN).sections()[1].keys[0].key == "model.width", "given, for other custom code"


@pytest.mark.parametrize(
    ("train", "found"),
    [
        ("loop.py", {"lr": "0.001", "depth": "2"}),
        ("loop.py:Net", {}),
        ("loop.py:absent", {}),
        ("absent.py", {}),
        ("loops:train", {}),
        ("none", {}),
    ],
)
def test_parameters_are_found_without_importing(tmp_path: Path, train: str, found: dict[str, str]) -> None:
    (tmp_path / "loop.py").write_text(FILE, encoding="utf-8")
    assert parameters_of(train, tmp_path) == found


def test_a_command_is_typed_as_in_a_shell_and_its_placeholders_are_settings(form: Form) -> None:
    line = "python train.py --name 'my run' --lr {lr} --epochs {epochs} $HOME"
    form = form.edit("run.command", line)
    assert form.kind is Kind.COMMAND
    assert form.values["run.command"] == ["python", "train.py", "--name", "my run", "--lr", "{lr}", "--epochs",
                                          "{epochs}", "$HOME"]  # fmt: skip
    assert form.typed("run.command") == line
    assert form.sections()[1].keys[0].key == "model.lr"
    assert form.errors() == {"model.lr": "give a value: it has no default"}
    form = form.edit_values("model.lr", "0.1, 0.2")
    assert form.errors() == {}
    settings = form.settings()
    assert (settings.run.models, settings.training.epochs) == (1, 100), "one seed; {epochs} is used"
    require_no_unused(settings)
    assert command(form).endswith("-- python train.py --name 'my run' --lr '{lr}' --epochs '{epochs}' '$HOME'")


def test_a_command_has_one_model_and_no_epochs_by_default(form: Form) -> None:
    one = form.edit("run.command", "true")
    assert (one.settings().run.models, one.settings().training.epochs) == (1, None)
    assert one.edit("run.command", "true {seed}").settings().run.models == 3
    given = form.put("training.epochs", 7).put("run.models", 5).edit("run.command", "true")
    assert (given.settings().run.models, given.settings().training.epochs) == (5, 7)
    back = one.train(Kind.BUILT_IN).settings()
    assert (back.run.models, back.training.epochs, back.run.command) == (3, 100, ())
    assert command(one) == "forge-tui --no-ui -- true"


def test_an_unclosed_quotation_mark_is_an_error(form: Form) -> None:
    form = form.train(Kind.COMMAND).edit("run.command", "echo 'hello")
    assert form.errors() == {"run.command": "a quotation mark is not closed"}
    assert form.train(Kind.COMMAND).edit("run.command", "").errors()["run.command"].startswith("write the program")
