"""Suspending to the shell, and being stopped by others, on a real terminal with job control."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ptys import Pty

APP = Path(__file__).parent / "apps" / "small_app.py"


@pytest.fixture
def terminal() -> Iterator[Pty]:
    with Pty(APP) as terminal:
        terminal.wait_for_text("ready")
        yield terminal


def _assert_it_goes_on(terminal: Pty, threads: int) -> None:
    """Each key is read once, the line is drawn, and there are as many threads as before."""
    terminal.send("k")
    terminal.wait_for_text("keys=k size")
    terminal.wait(lambda: terminal.threads() == threads, f"{threads} threads")
    assert {1000, 1049, 2004, 25} <= terminal.modes()
    assert terminal.keyboard_protocols() == 1
    terminal.send("q")
    terminal.assert_left(terminal.wait_for_event("exited"), 0)


@pytest.mark.parametrize("how", ["key", "signal"])
def test_suspend_gives_the_terminal_to_the_shell_and_takes_it_back(terminal: Pty, how: str) -> None:
    threads = terminal.threads()
    if how == "key":
        terminal.send("\x1a")
    else:
        terminal.kill(signal.SIGTSTP)
    assert terminal.wait_for_event("stopped")["modes_as_before"] is True
    assert terminal.modes() == set()
    assert terminal.keyboard_protocols() == 0
    assert terminal.text() == ""
    terminal.resize(70, 20)
    terminal.order("fg")
    terminal.wait_for_text("ready keys= size=70x20")
    _assert_it_goes_on(terminal, threads)


def test_in_the_background_it_stops_until_it_has_the_terminal(terminal: Pty) -> None:
    terminal.kill(signal.SIGTSTP)
    terminal.wait_for_event("stopped")
    terminal.order("bg")
    assert terminal.wait_for_event("stopped")["modes_as_before"] is True
    assert terminal.modes() == set()
    terminal.order("fg")
    terminal.wait_for_text("ready")
    terminal.send("q")
    terminal.assert_left(terminal.wait_for_event("exited"), 0)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_ended_while_suspended_it_leaves_the_shells_terminal_alone(terminal: Pty, signum: signal.Signals) -> None:
    terminal.send("\x1a")
    terminal.wait_for_event("stopped")
    shown = terminal.output
    terminal.kill(signum)
    terminal.order("bg")
    terminal.assert_left(terminal.wait_for_event("exited"), 128 + signum)
    assert b"\x1b" not in terminal.output[len(shown) :]


def test_ended_while_stopped_from_outside_it_restores_the_terminal(terminal: Pty) -> None:
    terminal.kill(signal.SIGSTOP)
    terminal.wait_for_event("stopped")
    terminal.kill(signal.SIGTERM)
    terminal.order("fg")
    terminal.assert_left(terminal.wait_for_event("exited"), 128 + signal.SIGTERM)


def test_ended_in_the_background_after_a_stop_from_outside_it_ends(terminal: Pty) -> None:
    terminal.kill(signal.SIGSTOP)
    terminal.wait_for_event("stopped")
    terminal.kill(signal.SIGTERM)
    terminal.order("bg")
    assert terminal.wait_for_event("exited")["status"] == 128 + signal.SIGTERM
    assert terminal.modes() == set()


def test_a_stop_from_outside_starts_no_second_driver(terminal: Pty) -> None:
    threads = terminal.threads()
    for _ in range(3):
        terminal.kill(signal.SIGSTOP)
        terminal.wait_for_event("stopped")
        terminal.output = b""  # what the shell and its commands would have drawn over
        terminal.order("fg")
        terminal.wait_for_text("ready keys= size=80x24")
    terminal.output = b"\x1b[>1u" + terminal.output
    _assert_it_goes_on(terminal, threads)


def test_a_continue_without_a_stop_only_redraws(terminal: Pty) -> None:
    threads = terminal.threads()
    terminal.output = b"\x1b[>1u"
    terminal.kill(signal.SIGCONT)
    terminal.wait_for_text("ready")
    _assert_it_goes_on(terminal, threads)


def test_a_session_leader_says_that_it_cannot_be_suspended() -> None:
    with Pty(APP, SESSION_LEADER="1") as terminal:
        terminal.wait_for_text("ready")
        terminal.send("\x1a")
        terminal.wait_for_text("cannot suspend")
        terminal.send("q")
        terminal.assert_left(terminal.wait_for_event("exited"), 0)
