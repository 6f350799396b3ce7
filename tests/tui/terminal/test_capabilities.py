"""What the screens may use, by environment; and that it is never more than Textual sends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from rich.console import Console

from forge_tui.errors import UsageError
from forge_tui.tui.terminal.capabilities import TRUECOLOUR, capabilities

XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("environ", "encoding", "expected"),
    [
        (XTERM, "utf-8", False),
        (XTERM, "UTF8", False),
        (XTERM, "latin-1", True),
        (XTERM, "ANSI_X3.4-1968", True),
        (XTERM, None, True),
        ({"TERM": "linux"}, "utf-8", True),
        ({"TERM": "linux-16color"}, "utf-8", True),
        ({"TERM": "vt100"}, "utf-8", True),
        ({"TERM": "tmux-256color"}, "utf-8", False),
        ({**XTERM, "LC_ALL": "C"}, "utf-8", True),  # where Python writes UTF-8 nevertheless
        ({**XTERM, "LC_ALL": "C.UTF-8"}, "utf-8", False),
    ],
)
def test_ascii(environ: dict[str, str], encoding: str | None, expected: bool) -> None:
    assert capabilities(environ, encoding, True).ascii is expected
    assert capabilities(environ, encoding, True, force_ascii=True).ascii is True


@pytest.mark.parametrize(
    ("environ", "colours"),
    [
        (XTERM, 256),
        ({"TERM": "xterm"}, 16),
        ({"TERM": "screen"}, 16),
        ({"TERM": "linux"}, 16),
        ({"TERM": "xterm-16color"}, 16),
        ({"TERM": "xterm-kitty"}, 256),
        ({}, 16),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, TRUECOLOUR),
        ({"TERM": "xterm", "COLORTERM": "24bit"}, TRUECOLOUR),
        ({"TERM": "xterm", "COLORTERM": "yes"}, 16),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, 0),
    ],
)
def test_colours_are_those_rich_finds(environ: dict[str, str], colours: int) -> None:
    console = Console(color_system="auto", force_terminal=True, _environ=environ)
    names = {None: 0, "standard": 16, "256": 256, "truecolor": TRUECOLOUR}
    assert names[console.color_system] == colours
    assert capabilities(environ, "utf-8", True).colours == colours


@pytest.mark.parametrize("value", ["1", ""])
def test_no_color_means_none(value: str) -> None:
    assert capabilities({**XTERM, "COLORTERM": "truecolor", "NO_COLOR": value}, "utf-8", True).colours == 0


def test_the_mouse_is_left_alone_where_there_is_none() -> None:
    assert capabilities(XTERM, "utf-8", True).mouse is True
    assert capabilities({"TERM": "linux"}, "utf-8", True).mouse is False


def test_without_a_terminal_it_names_batch_mode() -> None:
    found = capabilities(XTERM, "utf-8", False)
    assert not found.usable
    with pytest.raises(UsageError, match=r"terminal on standard input and standard error.*--no-ui") as raised:
        found.check()
    assert raised.value.exit_status == 2


def test_a_dumb_terminal_names_itself_and_batch_mode() -> None:
    with pytest.raises(UsageError, match=r"TERM=dumb.*--no-ui"):
        capabilities({"TERM": "dumb"}, "utf-8", True).check()


def test_a_usable_terminal_passes() -> None:
    capabilities(XTERM, "utf-8", True).check()


def test_in_a_browser_there_is_everything_without_a_terminal() -> None:
    environ = {"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"}
    found = capabilities(environ, None, False)
    assert (found.usable, found.ascii, found.colours, found.mouse) == (True, False, TRUECOLOUR, True)


def test_asking_loads_no_textual() -> None:
    code = (
        "import sys, forge_tui.tui.terminal.capabilities as c; c.this_terminal(); "
        "print([m for m in ('textual', 'rich', 'torch', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("closed", ["0<&-", "2>&-", "0</dev/null", "2>/dev/null"])
def test_closed_and_redirected_streams_are_no_terminal(closed: str) -> None:
    code = "import forge_tui.tui.terminal.capabilities as c; print(c.this_terminal().usable)"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
