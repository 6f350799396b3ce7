"""Carriage returns in captured output rewrite their line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from forge_tui.cli import look
from forge_tui.safe_io.rewriting import Rewriter, rewritten


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("10%\r50%\r100%\r", "100%"),
        ("a long line\rshort", "shortg line"),
        ("12/100 done\r\x1b[K13/100", "13/100"),
        ("abc\r\x1b[2Kx", "x"),
        ("abc\rx\x1b[K", "x"),
        ("\r\r", ""),
    ],
)
def test_what_a_terminal_would_show(line: str, shown: str) -> None:
    assert rewritten(line) == shown


def test_text_in_pieces_makes_whole_lines_and_one_that_is_being_written() -> None:
    rewriter = Rewriter()
    assert rewriter.feed("a\nep") == "a\n"
    assert rewriter.feed("och 1\repoch 2\r") == ""
    assert rewriter.partial == "epoch 2"
    assert rewriter.feed("EP") == ""
    assert rewriter.partial == "EPoch 2"
    assert rewriter.feed("\r\ndone") == "EPoch 2\n"
    assert rewriter.partial == "done"


def test_an_endless_bar_takes_no_more_than_its_line() -> None:
    rewriter = Rewriter()
    for number in range(10_000):
        rewriter.feed(f"\r{number:5}/10000")
    assert rewriter.partial == " 9999/10000"
    assert len(rewriter._pending) < 30


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_logs_on_a_terminal_show_a_bar_as_it_stands_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    log = look._LogOnTerminal()
    log.write(b"start\n 10%\r 5")
    log.draw_partial(live=True)
    log.write(b"0%\r100%\r\nend\x1b[31m")
    log.draw_partial(live=False)

    assert screen.getvalue() == "start\n 50%" + "\r    \r" + "100%\nend [31m\n"
