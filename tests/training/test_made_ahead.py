"""Items that are made while the last one is used."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from forge_tui.training.prediction.ahead import made_ahead


class _Items:
    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error = count, error
        self.made = [threading.Event() for _ in range(count)]
        self.threads: set[str] = set()
        self.closed = False

    def __call__(self) -> Generator[int, None, None]:
        try:
            for number in range(self.count):
                self.threads.add(threading.current_thread().name)
                self.made[number].set()
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


def test_the_next_item_is_made_while_the_last_one_is_used() -> None:
    items = _Items(3)
    seen = []
    for number in made_ahead(items()):
        if number < 2:
            assert items.made[number + 1].wait(60)
        seen.append(number)
    assert seen == [0, 1, 2]
    assert threading.current_thread().name not in items.threads


def test_an_error_comes_in_its_place() -> None:
    found = made_ahead(_Items(2, ValueError("row 3"))())
    assert next(found) == 0
    assert next(found) == 1
    with pytest.raises(ValueError, match="row 3"):
        next(found)


def test_no_thread_is_left_when_it_is_closed_early() -> None:
    items = _Items(5)
    found = made_ahead(items())
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert items.closed
    assert not any(thread.name.startswith("made ahead") for thread in threading.enumerate())


def test_nothing_gives_nothing() -> None:
    assert list(made_ahead(_Items(0)())) == []
