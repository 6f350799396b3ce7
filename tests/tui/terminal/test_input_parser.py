"""Keys from a terminal that sends escape sequences in pieces, as tmux and slow connections do."""

from __future__ import annotations

import pytest
from textual import events
from textual._xterm_parser import XTermParser

from forge_tui.tui.terminal.input_parser import CUT_SECONDS, LATE_SECONDS, LONE_SECONDS, InputParser


class Terminal:
    """A terminal by a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.parser = InputParser(XTermParser(False), lambda: self.now)
        self.keys: list[str] = []

    def send(self, text: str) -> None:
        self._take(self.parser.feed(text))

    def wait(self, seconds: float) -> None:
        """Let time pass, with a tick whenever the parser asks for one."""
        end = self.now + seconds
        while (left := self.parser.seconds_left) is not None and self.now + left <= end:
            self.now += left
            self._take(self.parser.tick())
        self.now = end

    def _take(self, found: list[object]) -> None:
        self.keys += [event.key for event in found if isinstance(event, events.Key)]


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_a_lone_esc_is_a_key_at_once(terminal: Terminal) -> None:
    terminal.send("\x1b")
    assert terminal.keys == []
    terminal.wait(LONE_SECONDS)
    assert terminal.keys == ["escape"]
    assert LONE_SECONDS <= 0.05
    assert terminal.parser.seconds_left is None
    terminal.send("q")
    assert terminal.keys == ["escape", "q"]


@pytest.mark.parametrize(
    ("sequence", "key"),
    [("\x1b[A", "up"), ("\x1bOA", "up"), ("\x1b[3~", "delete"), ("\x1b[1;5C", "ctrl+right"), ("\x1b[5~", "pageup")],
)
def test_a_sequence_in_pieces_is_its_key_and_no_other(terminal: Terminal, sequence: str, key: str) -> None:
    for character in sequence[:-1]:
        terminal.send(character)
        terminal.wait(LONE_SECONDS / 2)
    terminal.send(sequence[-1])
    assert terminal.keys == [key]


@pytest.mark.parametrize("cut", [2, 3])
def test_the_rest_of_a_sequence_may_come_late(terminal: Terminal, cut: int) -> None:
    sequence = "\x1b[1;5D"
    terminal.send(sequence[:cut])
    terminal.wait(CUT_SECONDS * 0.9)
    terminal.send(sequence[cut:])
    terminal.wait(10)
    assert terminal.keys == ["ctrl+left"]


def test_after_a_lone_esc_the_late_rest_is_the_key_not_letters_that_act(terminal: Terminal) -> None:
    for rest, key in (("[D", "left"), ("OB", "down"), ("[3~", "delete")):
        terminal.keys.clear()
        terminal.send("\x1b")
        terminal.wait(LATE_SECONDS / 2)
        terminal.send(rest)
        terminal.wait(10)
        assert terminal.keys == ["escape", key]


def test_what_never_comes_whole_is_dropped(terminal: Terminal) -> None:
    terminal.send("\x1b[<0;31")
    terminal.wait(10)
    assert terminal.keys == []
    terminal.send("j")
    assert terminal.keys == ["j"]


def test_letters_typed_after_esc_are_letters(terminal: Terminal) -> None:
    for character in "\x1bO":  # reverse the order, long before and soon after
        terminal.send(character)
        terminal.wait(0.2)
    assert terminal.keys == ["escape", "O"]


def test_alt_with_a_key_is_that(terminal: Terminal) -> None:
    terminal.send("\x1bx")
    terminal.wait(LONE_SECONDS)
    assert terminal.keys == ["alt+x"]
