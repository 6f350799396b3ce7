"""The list under all lists: moving, scrolling, clicks, rows of several lines, and that only lines in view are drawn."""

from __future__ import annotations

from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.strip import Strip

from forge_tui.tui.lists.keyed_rows import KeyedRows
from forge_tui.tui.lists.virtual_list import VirtualList


class Words(VirtualList):
    """A word per row, drawn in as many lines as it has letters where `is_tall`."""

    COMPONENT_CLASSES = {"name", "cursor", "empty"}  # noqa: RUF012

    def __init__(self, is_tall: bool = False) -> None:
        self.words = KeyedRows[str](lambda word: word, lambda word: word)
        super().__init__(self.words)
        self.empty_text, self.no_match_text = "no words", "no such word"
        self.is_tall = is_tall
        self.drawn: list[int] = []

    def show(self, *words: str) -> None:
        self.words.show(words)
        self.rows_changed()

    @property
    def lines(self) -> list[int]:
        return [row for row, word in enumerate(self.words.shown) for _ in (word if self.is_tall else "1")]

    @property
    def line_count(self) -> int:
        return len(self.lines)

    def lines_of(self, row: int) -> range:
        first = self.lines.index(row)
        return range(first, first + self.lines.count(row))

    def row_near(self, line: int) -> int:
        return self.lines[line]

    def row_at(self, line: int) -> int | None:
        return self.lines[line] if line < len(self.lines) else None

    def draw_title(self) -> Strip:
        return self.strip([("WORD", "name")])

    def draw_line(self, line: int) -> Strip:
        self.drawn.append(line)
        row = self.lines[line]
        return self.strip([(self.words.shown[row], "cursor" if row == self.words.row else "name")])


class ListApp(App[None]):
    def __init__(self, words: Words) -> None:
        super().__init__()
        self.words = words
        self.told: list[Any] = []

    def compose(self) -> ComposeResult:
        yield self.words

    def on_virtual_list_selected(self, message: VirtualList.Selected) -> None:
        self.told.append(("selected", message.key))

    def on_virtual_list_opened(self, message: VirtualList.Opened) -> None:
        self.told.append(("opened", message.key))

    def on_virtual_list_range_changed(self, message: VirtualList.RangeChanged) -> None:
        self.told.append(("range", message.text))


def numbers(count: int) -> list[str]:
    return [f"word-{number}" for number in range(count)]


async def test_keys_move_the_selection_and_it_stays_in_view() -> None:
    words = Words()
    async with ListApp(words).run_test(size=(20, 6)) as pilot:
        words.show(*numbers(100))
        await pilot.pause()
        assert (words.selected_key, words.visible_range) == ("word-0", "rows 1–5 of 100")
        words.page(1)
        await pilot.pause()
        assert (words.selected_key, words.visible_range) == ("word-4", "rows 1–5 of 100")
        words.page(1)
        await pilot.pause()
        assert (words.selected_key, words.visible_range) == ("word-8", "rows 5–9 of 100")
        words.move_to("last")
        await pilot.pause()
        assert (words.selected_key, words.visible_range) == ("word-99", "rows 96–100 of 100")
        words.move(1)
        words.page(1)
        assert words.selected_key == "word-99"
        words.page(-1)
        assert words.selected_key == "word-95"
        words.move_to("first")
        await pilot.pause()
        assert (words.selected_key, words.visible_range) == ("word-0", "rows 1–5 of 100")


async def test_the_selection_stays_with_its_item_and_else_with_its_row() -> None:
    words = Words()
    app = ListApp(words)
    async with app.run_test(size=(20, 6)) as pilot:
        words.show("a", "b", "c")
        words.move(1)
        words.show("b", "x", "y", "a")
        assert (words.selected_key, words.words.row) == ("b", 0)
        words.move(1)
        words.show("b", "y", "a")
        assert words.selected_key == "y"
        words.words.set_filter("b")
        words.rows_changed()
        await pilot.pause()
        assert (words.selected_key, words.visible_range) == ("b", "rows 1–1 of 1 (3 in all)")
        words.show()
        await pilot.pause()
        assert words.selected_key is None
        assert [key for what, key in app.told if what == "selected"] == ["a", "b", "x", "y", "b", None]


async def test_where_there_are_no_rows_a_sentence_says_why() -> None:
    words = Words()
    async with ListApp(words).run_test(size=(20, 6)):
        assert words.render_line(0).text.strip() == "WORD"
        assert words.render_line(1).text.strip() == "no words"
        words.words.set_filter("z")
        words.show("a")
        assert words.render_line(1).text.strip() == "no such word"
        assert words.render_line(2).text.strip() == ""
        words.page(1)
        words.move(1)
        assert words.selected_key is None


async def test_a_click_selects_and_a_double_click_opens() -> None:
    words = Words()
    app = ListApp(words)
    async with app.run_test(size=(20, 6)) as pilot:
        words.show("a", "b")
        await pilot.click(words, offset=(2, 2))
        assert words.selected_key == "b"
        await pilot.click(words, offset=(2, 4))
        await pilot.click(words, offset=(2, 0))
        assert words.selected_key == "b"
        await pilot.click(words, offset=(2, 1), times=2)
        await pilot.pause()
        assert ("opened", "a") in app.told


async def test_rows_may_take_several_lines() -> None:
    words = Words(is_tall=True)
    async with ListApp(words).run_test(size=(20, 6)) as pilot:
        words.show("one", "four", "three", "six")
        words.move(1)
        await pilot.pause()
        assert [words.render_line(line).text.strip() for line in range(6)] == ["WORD", "one", *["four"] * 4]
        assert words.visible_lines == range(2, 7)
        await pilot.click(words, offset=(0, 1))
        assert words.selected_key == "one"
        words.page(1)
        assert words.selected_key == "four"


async def test_only_lines_in_view_are_drawn_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    words = Words()
    monkeypatch.setattr(Words, "lines", property(lambda self: range(len(self.words))))
    async with ListApp(words).run_test(size=(20, 6)) as pilot:
        words.show(*numbers(10_000))
        await pilot.pause()
        words.drawn.clear()
        words.move(1)
        await pilot.pause()
        assert sorted(set(words.drawn)) == [0, 1]
        words.drawn.clear()
        words.move_to("last")
        await pilot.pause()
        assert set(words.drawn) <= {0, 1, 2, 3, 4, 9_995, 9_996, 9_997, 9_998, 9_999}
