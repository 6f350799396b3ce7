"""Settings files: every problem names file, line, key and what is allowed; what is written is read back."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forge_tui.errors import RunDirectoryError, SettingsError
from forge_tui.settings.files import read_settings, settings_digest, settings_text, write_settings
from forge_tui.settings.key_lines import key_lines
from forge_tui.settings.schema import Settings, TrainingConfig, from_plain, to_plain


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problem_of(content: str | bytes) -> str:
    """The error for a file `settings.toml` of this content."""
    path = Path("settings.toml")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# one\n\n[run]\nseed = 1\n\n[training]\nepochs = 0\n", "line 7: training.epochs = 0: must be at least 1"),
        ("[training]\n\nepoch = 3\n", "line 3: unknown key training.epoch; did you mean training.epochs?"),
        ("[training]\nmodels = 3\n", "line 2: unknown key training.models; did you mean run.models?"),
        ("epochs = 3\n", "line 1: unknown key epochs; did you mean training.epochs?"),
        ("[training]\nxyzzy = 3\n", "line 2: unknown key training.xyzzy; `forge-tui config` lists all settings"),
        ("\n[trainng]\nepochs = 3\n", "line 2: unknown table trainng; did you mean training?"),
        (
            "[xyzzy]\na = 1\n",
            "line 1: unknown table xyzzy; there are training, run, data, resources, engine, search, ui, model, sweep",
        ),
        ("training = 5\n", "line 1: training = 5: must be a table"),
        (
            "\n[[training]]\nepochs = 3\n",
            "line 2: training: must be one table; write [training] once, in single brackets",
        ),
        ("[training]\nepochs = true\n", "line 2: training.epochs = true: must be a whole number"),
        ("[training]\nepochs = 5.0\n", "line 2: training.epochs = 5.0: must be a whole number"),
        ("[training]\nepochs = '5'\n", 'line 2: training.epochs = "5": must be a whole number'),
        ("[training]\nepochs = 1979-05-27\n", "line 2: training.epochs = 1979-05-27: must be a whole number"),
        ("[training]\nlearning_rate = inf\n", "line 2: training.learning_rate = inf: must be a finite number"),
        ("[training]\nepochs = [1]\n", "line 2: training.epochs = [1]: must be a whole number"),
        ("[training]\nepochs.x = 1\n", "line 2: training.epochs = a table: must be a whole number"),
        ("\ntraining.epochs = 0\n", "line 2: training.epochs = 0: must be at least 1"),
        ("\ntraining = { seed = 1,  epochs = 0 }\n", None),
        ("\n'training'.\"epochs\" = 0\n", "line 2: training.epochs = 0: must be at least 1"),
        ('["trai\\u006eing"]\n\nepochs = 0\n', "line 3: training.epochs = 0: must be at least 1"),
        (
            "\n'training.epochs' = 5\n",
            'line 2: unknown key "training.epochs"; in quotes, a dot is part of the name',
        ),
        ('[training]\n"\\u001b[2J" = 5\n', None),
        (
            "[training]\nbetas = [\n  0.5,\n  1.5, # too large\n]\n",
            "line 2: training.betas = [0.5, 1.5]: item 2 must be less than 1",
        ),
        (
            '[training]\ndataset = """\nepochs = 0 # no\n[run]\n"""\nepochs = 0\n',
            "line 6: training.epochs = 0: must be at least 1",
        ),
        ("[training]\r\n\r\nepochs = 0\r\n", "line 3: training.epochs = 0: must be at least 1"),
        (
            "[training]\nepochs = 99999999999999999999999\n",
            "line 2: training.epochs = 99999999999999999999999: must be at most 9223372036854775807",
        ),
        ("[training]\nepochs = \n", "line 2, column 10: Invalid value; this is not TOML"),
        ("[training]\nepochs = 1\nepochs = 2\n", None),
        ("[training]\nbetas = [1,\n", None),
        (b"\n\xff\xfe", "line 2: is not UTF-8 text; save the file as UTF-8"),
    ],
)
def test_a_problem_names_file_line_key_value_and_what_is_allowed(
    here: Path, content: str | bytes, message: str | None
) -> None:
    problem = problem_of(content)

    if message is not None:
        assert problem == f"settings.toml, {message}"
    assert problem.startswith("settings.toml, line ")
    assert all(character.isprintable() or character == "\n" for character in problem)


def test_an_inline_table_is_located_by_its_keys(here: Path) -> None:
    assert problem_of("\ntraining = { seed = 1,  epochs = 0 }\n").splitlines() == [
        "settings.toml, line 2: unknown key training.seed; did you mean run.seed?",
        "settings.toml, line 2: training.epochs = 0: must be at least 1",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("[training]\nepochs = " + "9" * 5000, None, id="digits"),
        pytest.param("a = " + "[" * 20_000, "settings.toml: is nested too deeply", id="brackets"),
        pytest.param("a." * 2_000 + "a = 1\n", "settings.toml, line 1: unknown table a", id="dots"),
        # Deep enough for the walk over the lines, not for tomllib: both ends of the limit are errors in words.
        *(pytest.param("a = " + "[" * n + "]" * n, None, id=f"{n} brackets") for n in range(200, 1000, 50)),
    ],
)
def test_a_hostile_file_is_an_error_in_words(here: Path, content: str, message: str | None) -> None:
    problem = problem_of(content)

    assert problem.startswith(message or "settings.toml")


def test_all_problems_of_a_file_are_told_at_once(here: Path) -> None:
    assert problem_of("[training]\nepochs = 0\nbatch_size = 0\n").splitlines() == [
        "settings.toml, line 2: training.epochs = 0: must be at least 1",
        "settings.toml, line 3: training.batch_size = 0: must be at least 1",
    ]


def test_a_missing_file_a_directory_and_a_device_are_told_apart(here: Path) -> None:
    told = []
    for name in ("none.toml", ".", "/dev/zero", "nul\0.toml", "a" * 5000):
        with pytest.raises(SettingsError) as caught:
            read_settings(name)
        told.append(str(caught.value)[-60:])

    assert told[0] == "none.toml: there is no such file; give the path of a TOML file"[-60:]
    assert told[1] == ".: is a directory; give the path of a TOML file"
    assert told[2].endswith("it is a pipe, a socket or a device, not a file")
    assert told[3].startswith("nul\\u0000.toml: cannot be read: ")
    assert told[4].endswith("cannot be read: File name too long")


@pytest.fixture
def as_ordinary_user() -> Iterator[None]:
    """Root reads every file, so as root the test goes on as somebody else."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


def test_an_unreadable_file_says_why(here: Path, request: pytest.FixtureRequest) -> None:
    Path("settings.toml").touch(mode=0o000)
    request.getfixturevalue("as_ordinary_user")

    with pytest.raises(SettingsError, match=r"^settings\.toml: cannot be read: Permission denied$"):
        read_settings("settings.toml")


def test_a_file_with_a_byte_order_mark_and_crlf_is_read(here: Path) -> None:
    Path("settings.toml").write_bytes(b"\xef\xbb\xbf[training]\r\nepochs = 7\r\n")

    assert read_settings("settings.toml").training.epochs == 7


def test_paths_in_a_settings_file_stay_as_they_are_given(here: Path) -> None:
    Path("sub").mkdir()
    Path("sub/settings.toml").write_text("[training]\ndataset = 'data/x.csv'\n[run]\noutput = '../out'\n")

    read = read_settings("sub/settings.toml")

    assert (read.training.dataset, read.run.output) == ("data/x.csv", "../out")


def test_a_written_file_is_private_and_replaces_the_old_one_whole(here: Path) -> None:
    write_settings(Settings(training=TrainingConfig(epochs=1)), "settings.toml")
    write_settings(Settings(training=TrainingConfig(epochs=2)), "settings.toml")

    assert read_settings("settings.toml").training.epochs == 2
    assert stat.S_IMODE(os.stat("settings.toml").st_mode) == 0o600
    assert os.listdir() == ["settings.toml"]


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(here: Path) -> None:
    Path("taken").mkdir()
    for name, reason in (("none/settings.toml", "No such file or directory"), ("taken", "Is a directory")):
        with pytest.raises(RunDirectoryError) as caught:
            write_settings(Settings(), name)
        assert str(caught.value) == f"{name}: cannot be written: {reason}"
    assert os.listdir() == ["taken"]


def test_settings_changed_to_a_wrong_value_are_not_written(here: Path) -> None:
    wrong = Settings()
    wrong.run.models = 0

    with pytest.raises(SettingsError, match=r"^run\.models = 0: must be at least 1$"):
        write_settings(wrong, "settings.toml")
    assert os.listdir() == []


_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
_rate = st.floats(0.0, 1.0, exclude_max=True)
_plain = st.fixed_dictionaries(
    {
        "training": st.fixed_dictionaries(
            {},
            optional={
                "model_type": st.sampled_from(["planner", "reasoner", "memory"]),
                "model_size": st.integers(1_000, 10**9),
                "learning_rate": st.floats(0.0, 10.0, exclude_min=True),
                "epochs": st.integers(1, 2**63 - 1),
                "grokfast_enabled": st.booleans(),
                "grokfast_lambda": st.floats(0.0, allow_infinity=False),
                "dataset": _text,
                "betas": st.lists(_rate, min_size=2, max_size=2),
            },
        ),
        "run": st.fixed_dictionaries(
            {},
            optional={
                "output": st.none() | _text,
                "max_seconds": st.none() | st.floats(0.0, allow_infinity=False, exclude_min=True),
                "seed": st.integers(0, 2**63 - 1),
            },
        ),
        "resources": st.fixed_dictionaries(
            {},
            optional={
                "memory_per_worker_gb": st.just("measured") | st.floats(0.5, 64),
                "threads": st.just("auto") | st.integers(1, 999),
            },
        ),
    }
)


@given(_plain)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back_the_same(tmp_path: Path, plain: dict[str, dict[str, Any]]) -> None:
    written = from_plain(plain)

    write_settings(written, tmp_path / "settings.toml")

    assert read_settings(tmp_path / "settings.toml") == written
    assert from_plain(to_plain(written)) == written


_names = st.text(st.sampled_from("ab.\"'#=[]{} \n\\é"), min_size=1, max_size=4)
_values: st.SearchStrategy[Any] = st.recursive(
    st.integers() | st.booleans() | st.text(st.sampled_from("ab\"'#=[]{},\n\r\\é"), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_names, _values, max_size=4), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_key_of_any_document_is_found_on_its_line(document: dict[str, Any], multiline: bool) -> None:
    import tomli_w

    text = tomli_w.dumps(document, multiline_strings=multiline)
    lines = key_lines(text)

    for name, value in tomllib.loads(text).items():
        assert (name,) in lines
        if isinstance(value, dict):
            assert {(name, inner) for inner in value} <= lines.keys()
    # Each key is found again where its line says: cutting the text there loses the key.
    for path, line in lines.items():
        if len(path) == 1:
            before = "".join(text.splitlines(keepends=True)[: line - 1]) if "\r" not in text else None
            if before is not None and _parses(before):
                assert path[0] not in tomllib.loads(before)


def _parses(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def test_keys_are_found_in_every_form_of_toml() -> None:
    text = """\
a.b = 1 # c = 2
'd'."e f" = '''
x = 1
''''
g = { h = [1, { i = 2 }], j.k = "}" }
[l . m]
n = [
  # o = 1
  "]", 'p',
]
[[q]]
r = 1979-05-27T07:32:00Z
[[q]]
r = 2
s = "\\"t = 1"
u = ""
"""
    lines = key_lines(text)

    tomllib.loads(text)
    assert lines == {
        ("a",): 1, ("a", "b"): 1, ("d",): 2, ("d", "e f"): 2, ("g",): 5, ("g", "h"): 5, ("g", "h", "i"): 5,
        ("g", "j"): 5, ("g", "j", "k"): 5, ("l",): 6, ("l", "m"): 6, ("l", "m", "n"): 7, ("q",): 11, ("q", "r"): 12,
        ("q", "s"): 15, ("q", "u"): 16,
    }  # fmt: skip


def test_the_written_text_leaves_out_what_is_not_set() -> None:
    document = tomllib.loads(settings_text(Settings()))

    assert "output" not in document["run"]
    assert document["training"]["betas"] == [0.9, 0.999]
    assert list(document) == ["training", "run", "data", "resources", "engine", "search", "ui"]


def test_the_digest_of_a_file_is_of_what_it_says_and_not_of_its_epochs(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[training]\nepochs = 5\nlearning_rate = 0.01\n[run]\nseed = 3\n")
    digest = settings_digest(path)
    path.write_text("# mine\n[run]\nseed = 3\n\n[training]\nlearning_rate = 1e-2\nepochs = 50\n")
    assert settings_digest(path) == digest
    for other in ("learning_rate = 0.02\n[run]\nseed = 3", "learning_rate = 0.01\n[run]\nseed = 4", ""):
        path.write_text(f"[training]\n{other}\n")
        assert settings_digest(path) != digest
    path.write_text("[training\n")
    with pytest.raises(SettingsError, match="this is not TOML"):
        settings_digest(path)
