"""What is sent to a real terminal: sizes, colours, mouse, title, encoding."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ptys import Pty

APP = Path(__file__).parent / "apps" / "small_app.py"
_SGR = re.compile(rb"\x1b\[([0-9;]*)m")


def _leave(terminal: Pty) -> None:
    terminal.send("q")
    terminal.assert_left(terminal.wait_for_event("exited"), 0)


def test_the_smallest_size_and_back() -> None:
    with Pty(APP) as terminal:
        terminal.wait_for_text("size=80x24")
        terminal.resize(1, 1)
        terminal.send("k")
        terminal.wait(lambda: terminal.text() == "r", "one character")
        terminal.resize(100, 30)
        terminal.wait_for_text("keys=k size=100x30")
        _leave(terminal)


def test_many_resizes_end_at_the_last_size() -> None:
    with Pty(APP) as terminal:
        terminal.wait_for_text("ready")
        for size in range(1, 60):
            terminal.resize(size, size)
        terminal.resize(77, 23)
        terminal.wait_for_text("size=77x23")
        _leave(terminal)


def test_a_resize_during_the_report_of_another_one_is_not_overtaken_by_it() -> None:
    # While the app asks for its size for the first time after a resize, the terminal changes again: the signal's
    # handler is interrupted by itself.
    asking = """
import fcntl, struct, termios
from forge_tui.tui.terminal.device import TerminalDevice
ask = TerminalDevice.size
def ask_and_be_resized(self):
    size = ask(self)
    if size == (50, 20):
        fcntl.ioctl(self.input, termios.TIOCSWINSZ, struct.pack("HHHH", 23, 77, 0, 0))
    return size
TerminalDevice.size = ask_and_be_resized
"""
    with Pty("-c", f"{asking}\nexec(open({str(APP)!r}).read())") as terminal:
        terminal.wait_for_text("ready")
        terminal.resize(50, 20)
        terminal.wait_for_text("size=77x23")
        _leave(terminal)


def test_a_terminal_that_does_not_know_its_size_gets_80_by_24() -> None:
    with Pty(APP, columns=0, rows=0) as terminal:
        terminal.wait(lambda: b"size=80x24" in terminal.output, "the usual size")
        _leave(terminal)


def test_the_size_is_the_terminals_whatever_the_environment_and_standard_output_say(tmp_path: Path) -> None:
    redirect = f"import os; os.dup2(os.open({str(tmp_path / 'out')!r}, os.O_WRONLY | os.O_CREAT), 1)"
    with Pty(
        "-c", f"{redirect}\nexec(open({str(APP)!r}).read())", columns=90, rows=30, COLUMNS="50", LINES="9"
    ) as terminal:
        terminal.wait_for_text("size=90x30")
        terminal.resize(60, 20)
        terminal.wait_for_text("size=60x20")
        _leave(terminal)
        assert terminal.text() == "farewell – forge-tui attach 1"
    assert os.stat(tmp_path / "out").st_size == 0


def test_no_color_sends_no_colour_codes() -> None:
    with Pty(APP, NO_COLOR="1", COLORTERM="truecolor") as terminal:
        terminal.wait_for_text("ready")
        terminal.send("s")
        terminal.wait(lambda: len(terminal.output) > 20_000, "coloured text")
        _leave(terminal)
        assert _colour_codes(terminal.output) == set()


def test_colours_are_no_more_than_the_terminal_has() -> None:
    with Pty(APP, TERM="xterm") as terminal:
        terminal.wait_for_text("ready")
        _leave(terminal)
        codes = _colour_codes(terminal.output)
        assert codes
        assert codes.isdisjoint({38, 48})


def test_the_mouse_can_be_left_to_the_terminal() -> None:
    with Pty(APP) as terminal:
        terminal.wait_for_text("ready")
        assert 1000 in terminal.modes()
        terminal.send("m")
        terminal.wait(lambda: terminal.modes().isdisjoint({1000, 1003, 1006, 1015}), "the mouse to be released")
        _leave(terminal)


def test_the_title_is_put_back_and_carries_no_control_characters() -> None:
    with Pty(APP) as terminal:
        terminal.wait_for_text("ready")
        terminal.send("t")
        terminal.wait(lambda: b"\x1b]2;" in terminal.output, "the title")
        _leave(terminal)
        assert b"\x1b[22;2t\x1b]2;a title   [31m\x07" in terminal.output
        assert terminal.output.count(b"\x1b[23;2t") == 1


def test_an_encoding_without_a_character_shows_a_question_mark_of_the_same_width() -> None:
    with Pty(APP, PYTHONIOENCODING="latin-1") as terminal:
        terminal.wait_for_text("ready")
        _leave(terminal)
        assert terminal.text() == "farewell ? forge-tui attach 1"


def _colour_codes(output: bytes) -> set[int]:
    """SGR parameters that set a colour, or the default colour."""
    codes = {int(number or 0) for sequence in _SGR.findall(output) for number in sequence.split(b";")}
    return {code for code in codes if 30 <= code <= 49 or 90 <= code <= 107}
