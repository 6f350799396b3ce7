"""A start that is refused leaves everything as it was, and says what could not be."""

from __future__ import annotations

import contextlib

from forge_tui.errors import RunDirectoryError
from forge_tui.runner.main import _undone


def test_what_could_not_be_undone_goes_on_the_refusal() -> None:
    done: list[str] = []

    def fails() -> None:
        raise RunDirectoryError("it cannot be put back")

    stack = contextlib.ExitStack()
    stack.callback(done.append, "the rest")
    stack.callback(fails)
    assert _undone(stack) == "; it cannot be put back"
    assert done == ["the rest"]
    assert _undone(contextlib.ExitStack()) == ""
