"""What would steer a terminal reaches none, and scripts get every byte."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_directories import RunMaker

from forge_tui.cli import main
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.safe_io.printing import escaped, harmless, in_ascii, is_plain_locale, printable, say, shell_word
from forge_tui.tui.widgets import cells

# ESC, BEL, DEL, C1 (CSI, OSC, the last), directions, separators, a zero-width space, a byte that is no UTF-8.
HARMFUL = (
    *("\x00", "\x07", "\x08", "\r", "\x1b", "\x7f", "\x80", "\x9b", "\x9d", "\x9f", "\u061c", "\u200e", "\u200f"),
    *("\u202a", "\u202e", "\u2066", "\u2069", "\u2028", "\u2029", "\u200b", "\udc9b", "\ue000"),
)
NAME = "run\x1b]0;owned\x07\x9b31m\u202egpj\u2028\nforge-tui: all is well"


def is_clean(text: str) -> bool:
    """Whether nothing in it steers a terminal but the ends of lines."""
    return all(one in "\n\t" or unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for one in text)


@pytest.mark.parametrize("character", HARMFUL)
def test_every_way_to_show_text_takes_out_what_is_harmful(character: str) -> None:
    text = f"a{character}é計"
    assert printable(text) == "a é計"
    assert harmless(f"{text}\n\t{text}") == "a é計\n\ta é計"
    assert escaped(text) == f"a\\u{ord(character):04x}é計"
    assert cells.clean(text) == "a é計"
    assert is_clean(shell_word(text))


@given(st.text())
def test_what_is_shown_is_clean_and_what_is_harmless_stays(text: str) -> None:
    assert is_clean(printable(text))
    assert is_clean(harmless(text))
    assert is_clean(escaped(text))
    assert is_clean(shell_word(text))
    if text.isprintable():
        assert printable(text) == harmless(text) == escaped(text) == text


@pytest.mark.parametrize("word", ["plain", "two words", "it's", NAME, "tab\tand\\back", "é\x9b\u202e$(touch x)`y`"])
def test_a_word_to_be_copied_is_that_word_for_the_shell(word: str) -> None:
    done = subprocess.run(["bash", "-c", f"printf %s {shell_word(word)}"], capture_output=True, check=True)
    assert done.stdout.decode() == word


def test_a_line_break_in_a_name_makes_no_line_of_ours() -> None:
    told = io.StringIO()
    say(f"forge-tui: {NAME} is missing\nthe second line", told)
    assert told.getvalue() == (
        "forge-tui: run\\u001b]0;owned\\u0007\\u009b31m\\u202egpj\\u2028\n"
        "  forge-tui: all is well is missing\n  the second line\n"
    )


@pytest.fixture
def named(maker: RunMaker) -> Path:
    """A run whose directory, model, reason and log are meant to steer a terminal; it is registered."""
    model = maker.model(1, name=f"m{NAME}", reason=NAME, device=NAME)
    failed = maker.failed(2, name=f"f{NAME}")
    path = maker.make(NAME, RunState.FAILED, [model, failed], reason=NAME, limit_reason=NAME)
    log = f"one\x1b[2J\u202e\x9b2J\u2028two\r\nlast\t{NAME}".encode() + b"\x9b\xff"
    (path / "logs" / "runner.log").write_bytes(log)
    return path


COMMANDS = [
    ("runs",), ("status", "RUN"), ("report", "RUN"), ("report", "RUN", "--format", "csv"), ("logs", "RUN"),
    ("report", "RUN", "--format", "json"), ("best", "RUN"), ("sample", "RUN"), ("ensemble", "RUN"), ("wait", "RUN"),
    ("pause", "RUN"), ("cancel", "RUN", NAME), ("workers", "RUN", "2"), ("resume", "RUN"), ("rm", "RUN"),
    ("report", "RUN", "--against", "RUN"), ("status", NAME + "x"), (NAME,), ("--settings", NAME), ("--preset", NAME),
    ("status", "RUN", NAME), ("--set", NAME), ("--no-ui", "--dataset", f"{NAME}.csv", "--check"),
    ("rm", "--yes", "RUN"), ("new", NAME),
]  # fmt: skip


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: ascii(" ".join(words)[:24]))
def test_no_command_lets_a_name_steer_the_terminal(
    named: Path,
    arguments: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    words = [str(named) if word == "RUN" else word for word in arguments]
    try:
        status = main(words)
    except SystemExit as ended:  # argparse
        status = ended.code  # type: ignore[assignment]
    out, err = capsys.readouterr()
    assert status in (0, 1, 2, 4)
    assert out or err
    assert is_clean(out.replace("\r\n", "\n")), ascii(out)
    assert is_clean(err), ascii(err)
    if "csv" not in arguments and "logs" not in arguments:  # they have the lines of what was recorded and printed
        assert not any(line.startswith("forge-tui: all is well") for line in (out + err).splitlines())


def test_a_path_for_scripts_is_exact_to_the_byte(maker: RunMaker, tmp_path: Path) -> None:
    path = maker.make(NAME)
    renamed = path.with_name("not-utf-8-\udc9b-" + path.name)
    path.rename(renamed)
    for ending in ("json", "safetensors"):
        (renamed / f"cognate_planner_1.{ending}").touch()
    done = subprocess.run([sys.executable, "-m", "forge_tui", "best", renamed], capture_output=True, check=True)
    assert done.stdout == bytes(renamed / "cognate_planner_1") + b"\n"
    assert done.stderr == b""


def test_json_on_a_terminal_is_ascii_and_says_the_same(
    maker: RunMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from forge_tui.batch import batch_mode
    from forge_tui.client.run import Run

    path = maker.make(NAME, models=[maker.model(1, TrainingPhase.COMPLETED, epoch=2)])
    shown = []
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        with Run(path) as run:
            batch_mode.watch(run, json_lines=True)
        shown.append(capsys.readouterr().out)
    first, second = ([json.loads(line) for line in text.rstrip("\n").split("\n")] for text in shown)
    assert first == second
    assert shown[1].isascii()


@pytest.mark.parametrize(
    ("environ", "plain"),
    [
        ({"LC_ALL": "C"}, True),
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, True),
        ({"LC_ALL": "C.UTF-8"}, False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, False),  # as Python makes it of LANG=C
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, False),
        ({"LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}, False),
        ({}, False),
    ],
)
def test_the_locale_of_ascii_alone(environ: dict[str, str], plain: bool) -> None:
    assert is_plain_locale(environ) is plain


def test_what_ascii_lacks_is_drawn_in_as_many_cells() -> None:
    assert in_ascii("…│╭━ a×b 漢e\u0301") == "~|+= axb ??e"
    assert in_ascii("plain") == "plain"


@pytest.mark.parametrize("arguments", [("runs",), ("config",), ("--help",), ("status", "nö run"), ("doctor",)])
def test_batch_output_is_ascii_where_the_locale_is(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "forge_tui", *arguments],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        check=False,
    )
    assert (done.stdout + done.stderr).isascii()
    assert b"Traceback" not in done.stderr
