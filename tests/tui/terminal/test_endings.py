"""Whatever ends the screens, on a real terminal: exit status, modes and screen are as they should be."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ptys import Pty

APP = Path(__file__).parent / "apps" / "small_app.py"
FAREWELL = "farewell – forge-tui attach 1"


@pytest.fixture
def terminal() -> Iterator[Pty]:
    with Pty(APP) as terminal:
        terminal.wait_for_text("ready")
        yield terminal


@pytest.mark.parametrize(("key", "status"), [("q", 0), ("f", 7)])
def test_a_key_leaves_with_the_apps_status(terminal: Pty, key: str, status: int) -> None:
    assert {1000, 1049, 2004, 25} <= terminal.modes()
    terminal.send(key)
    terminal.assert_left(terminal.wait_for_event("exited"), status)
    assert terminal.text() == FAREWELL


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_leaves_in_order(terminal: Pty, signum: signal.Signals) -> None:
    terminal.kill(signum)
    exited = terminal.wait_for_event("exited")
    terminal.wait_for_report("unmounted")
    terminal.wait_for_report("returned")
    terminal.assert_left(exited, 128 + signum)
    assert terminal.text() == FAREWELL


def test_signals_at_once_leave_by_the_first() -> None:
    with Pty(APP) as terminal:
        terminal.wait_for_text("ready")
        terminal.kill(signal.SIGSTOP)
        terminal.wait_for_event("stopped")
        terminal.kill(signal.SIGTERM)
        terminal.kill(signal.SIGQUIT)
        terminal.order("fg")
        exited = terminal.wait_for_event("exited")
        assert exited["status"] in (128 + signal.SIGTERM, 128 + signal.SIGQUIT)
        terminal.assert_left(exited, exited["status"])


@pytest.mark.parametrize("environ", [{}, {"IGNORE_HANGUP": "1"}])
def test_a_hang_up_ends_the_app(environ: dict[str, str]) -> None:
    with Pty(APP, **environ) as terminal:
        terminal.wait_for_text("ready")
        terminal.hang_up()
        assert terminal.wait_for_event("exited")["status"] == 128 + signal.SIGHUP


def test_a_hang_up_in_a_flood_of_output_ends_the_app() -> None:
    with Pty(APP) as terminal:
        terminal.wait_for_text("ready")
        terminal.send("s")
        terminal.wait_for_silence()
        terminal.hang_up()
        assert terminal.wait_for_event("exited")["status"] == 128 + signal.SIGHUP


def test_an_ignored_hang_up_signal_stays_ignored() -> None:
    with Pty(APP, IGNORE_HANGUP="1") as terminal:
        terminal.wait_for_text("ready")
        terminal.kill(signal.SIGHUP)
        terminal.send("k")
        terminal.wait_for_text("keys=k")
        terminal.send("q")
        terminal.assert_left(terminal.wait_for_event("exited"), 0)


@pytest.mark.parametrize("keys", ["s", "sq", "s\x1a"])
def test_a_stalled_terminal_is_left_in_order(terminal: Pty, keys: str) -> None:
    """Also when it stalls while the app leaves or is being suspended."""
    for key in keys:
        terminal.send(key)
        terminal.wait_for_silence()
    terminal.kill(signal.SIGTERM)
    exited = terminal.wait_for_event("exited", reading=False)
    terminal.wait_for_report("unmounted")
    terminal.wait_for_report("returned")
    terminal.take_all()
    terminal.assert_left(exited, 128 + signal.SIGTERM)
    assert terminal.text() == FAREWELL


def test_an_app_that_does_not_answer_is_ended(terminal: Pty) -> None:
    terminal.send("b")
    terminal.wait_for_report("blocked")
    terminal.kill(signal.SIGTERM)
    exited = terminal.wait_for_event("exited")
    assert "unmounted" not in terminal.reports
    terminal.assert_left(exited, 128 + signal.SIGTERM)
    assert terminal.text() == FAREWELL


def test_an_app_that_does_not_answer_on_a_stalled_terminal_is_ended(terminal: Pty) -> None:
    terminal.send("s")
    terminal.wait_for_text("abc")
    terminal.send("b")
    terminal.wait_for_silence()
    terminal.kill(signal.SIGTERM)
    exited = terminal.wait_for_event("exited", reading=False)
    terminal.take_all()
    terminal.assert_left(exited, 128 + signal.SIGTERM)


def test_a_stalled_terminal_that_cannot_be_opened_again_is_left_too() -> None:
    """As after `su` without a controlling terminal: only the shell's own, blocking file descriptor is there."""
    closed = "import forge_tui.tui.terminal.device as device; device._open_again = lambda descriptor: None"
    with Pty("-c", f"{closed}\nexec(open({str(APP)!r}).read())") as terminal:
        terminal.wait_for_text("ready")
        terminal.send("s")
        terminal.wait_for_silence()
        terminal.kill(signal.SIGTERM)
        exited = terminal.wait_for_event("exited", reading=False)
        terminal.take_all()
        terminal.assert_left(exited, 128 + signal.SIGTERM)


@pytest.mark.parametrize(
    ("key", "error"), [("c", "ValueError: broken on purpose"), ("w", "LookupError: broken in a worker")]
)
def test_a_crash_shows_its_traceback_on_the_normal_screen(key: str, error: str) -> None:
    with Pty(APP, columns=120, rows=60) as terminal:
        terminal.wait_for_text("ready")
        terminal.send(key)
        terminal.assert_left(terminal.wait_for_event("exited"), 1)
        lines = terminal.text().splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert error in terminal.text()
        assert lines[-1] == FAREWELL
        after = terminal.output.rpartition(b"Traceback (most")[2]
        assert b"\x1b" not in after


def test_a_signal_before_the_first_paint_leaves() -> None:
    with Pty(APP) as terminal:
        terminal.wait(lambda: terminal.threads() > 1, "the guard")
        terminal.kill(signal.SIGTERM)
        terminal.assert_left(terminal.wait_for_event("exited"), 128 + signal.SIGTERM)


@pytest.mark.parametrize("source", ["/dev/null", "pipe"])
def test_the_end_of_the_input_ends_the_app(source: str) -> None:
    start = f"exec(open({str(APP)!r}).read())"
    redirect = (
        "import os; r, w = os.pipe(); os.dup2(r, 0); os.close(w)"
        if source == "pipe"
        else "import os; os.dup2(os.open('/dev/null', 0), 0)"
    )
    with Pty("-c", f"{redirect}\n{start}") as terminal:
        exited = terminal.wait_for_event("exited")
        terminal.assert_left(exited, 128 + signal.SIGHUP)
