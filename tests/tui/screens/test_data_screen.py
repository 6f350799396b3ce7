"""The data screen: what it shows of a table, every key, and what Configure says of the table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from configuring import Hand, configure, lines, snapshot
from rich.cells import cell_len
from scripted_looks import COLUMNS, Looks

from forge_tui.errors import DataError
from forge_tui.protocol.phases import RunState
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig
from forge_tui.tui.bindings import actions_of
from forge_tui.tui.dialogs.file_picker import FilePicker
from forge_tui.tui.form import table_looks
from forge_tui.tui.form.fields import DATASET
from forge_tui.tui.form.source import FormSource
from forge_tui.tui.lists.column_cells import ColumnRow, column_layout, column_row, titles
from forge_tui.tui.screens.configure import ConfigureScreen
from forge_tui.tui.screens.data import DataScreen
from forge_tui.tui.widgets.footer import FooterLine
from forge_tui.tui.widgets.glyphs import ASCII, UNICODE

LISTS = ("ignore", "numbers", "categories", "dates")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    script = Looks()
    monkeypatch.setattr(table_looks, "TableProcess", script)
    monkeypatch.setattr(table_looks, "_PAUSE", 0.01)
    return script


@pytest.fixture(autouse=True)
def table(working_directory: Path) -> Path:
    path = working_directory / "t.csv"
    path.write_text("id;age;born;district;a*;a;price\n1;2;3;4;5;6;7\n")
    return path


def data(hand: Hand) -> DataScreen:
    front = hand.app.front
    assert isinstance(front, DataScreen)
    return front


@asynccontextmanager
async def opened(
    state: Path, looks: Looks, *assignments: str, size: tuple[int, int] = (80, 24), column: str = "id"
) -> AsyncIterator[Hand]:
    """The data screen with the cursor on a column."""
    given = FormSource(assignments=("training.dataset=t.csv", *assignments))
    async with configure(state, size, given) as hand:
        await hand.press("c")
        await hand.until(lambda: isinstance(hand.app.front, DataScreen) and hand.app.front.is_there)
        await hand.until(lambda: data(hand).columns.shown or not looks._open.is_set() or looks.error)
        await hand.pilot.pause()
        if data(hand).columns.shown:
            data(hand).columns.select_row([one.name for one in COLUMNS].index(column))
            await hand.pilot.pause()
        yield hand


def kind(hand: Hand, column: str) -> str:
    return next(row.kind for row in data(hand).columns.shown if row.look.name == column)


def settings(hand: Hand) -> dict[str, list[str]]:
    form = hand.app.draft.form
    assert form is not None
    return {name: list(form.values[f"data.{name}"]) for name in LISTS if form.values[f"data.{name}"]}


async def looked(hand: Hand) -> None:
    await hand.until(lambda: not data(hand)._is_looking)
    await hand.pilot.pause()


async def test_what_is_shown_of_a_table(state: Path, looks: Looks) -> None:
    async with opened(state, looks, "data.target=price", column="age") as hand:
        shown = lines(hand)
        assert shown[2].strip() == "t.csv: 60 rows, 7 columns."
        assert shown[3].strip() == "Format: separator ';'; decimal ','."
        text = " ".join(" ".join(shown).split())
        assert "Target: 'price', 3 classes (high, low, mid)" in text
        assert "7 rows without it left out. Split: stratified by class." in text
        cells = {line[2:14].strip(): line.split() for line in shown if line[:2] in ("  ", "> ")}
        assert cells["NAME"][1:] == ["KIND", "MISSING", "DISTINCT", "HISTOGRAM", "VALUES"]
        assert cells["district"][:4] == ["district", "category", "12", "3"]
        assert cells["price"][:4] == ["price", "target", "7", "3"]
        assert "▅▂ ▃██▄▅▅▆▇█" in next(line for line in shown if line.startswith("> age"))
        assert "age  number: numbers" in data(hand).column.text
        assert "3 missing (5.0%) · 40 distinct · 18 to 90" in data(hand).column.text
        await hand.press("down", "down")
        assert "most frequent: north (30), south (10), east (8)" in data(hand).column.text


async def test_space_steps_through_the_kinds_and_the_settings_follow(state: Path, looks: Looks) -> None:
    async with opened(state, looks, column="district") as hand:
        for expected, shown in (
            ({"numbers": ["district"]}, "refused*"),
            ({"categories": ["district"]}, "category*"),
            ({"dates": ["district"]}, "date*"),
            ({"ignore": ["district"]}, "ignored*"),
            ({}, "category"),
        ):
            await hand.press("space")
            await looked(hand)
            assert (settings(hand), kind(hand, "district")) == (expected, shown)
            assert {name: looks.asked[-1][name] for name in expected} == expected or not expected
        await hand.press("left")
        assert settings(hand) == {"ignore": ["district"]}
        await hand.press("u")
        assert settings(hand) == {}


async def test_a_change_is_seen_at_once_and_only_the_newest_is_looked_at(
    state: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(state, looks, column="a") as hand:
        begun = len(looks.asked)
        looks.hold()
        await hand.press("space")
        await hand.until(lambda: len(looks.asked) == begun + 1)
        assert kind(hand, "a") == "number?"
        assert "Looking at it…" in data(hand).about.text
        await hand.press("space")
        assert kind(hand, "a") == "category?"
        await hand.until(lambda: len(looks.asked) == begun + 2)
        assert looks.stopped >= 1
        looks.release()
        await looked(hand)
        assert (kind(hand, "a"), "Looking" in data(hand).about.text) == ("category*", False)


async def test_a_name_that_looks_like_a_pattern_means_its_column_only(state: Path, looks: Looks) -> None:
    async with opened(state, looks, column="a*") as hand:
        await hand.press("x")
        await looked(hand)
        assert settings(hand) == {"ignore": ["a*"]}
        assert (kind(hand, "a*"), kind(hand, "a"), kind(hand, "age")) == ("ignored*", "number", "number")
        await hand.press("x")
        assert settings(hand) == {}


async def test_a_column_becomes_the_target_and_its_task_is_stepped_through(state: Path, looks: Looks) -> None:
    async with opened(state, looks, column="price") as hand:
        assert "No target is chosen: T predicts the selected column." in data(hand).about.text
        await hand.press("T")
        await looked(hand)
        assert (hand.status, kind(hand, "price")) == ("target: price", "target")
        assert (looks.asked[-1]["target"], looks.asked[-1]["task"]) == ("price", "auto")
        await hand.press("space")
        await looked(hand)
        assert (hand.status, looks.asked[-1]["task"]) == ("task: classification", "classification")
        await hand.press("x")
        assert "the target cannot be ignored" in hand.status
        await hand.press("u")
        await looked(hand)
        assert (looks.asked[0]["target"], kind(hand, "price")) == (None, "category")
        assert settings(hand) == {}


async def test_a_column_that_another_setting_leaves_out_says_which(state: Path, looks: Looks) -> None:
    only = replace(COLUMNS[1], kind="left_out", reason="not in data.only")
    looks.columns = (COLUMNS[0], only, *COLUMNS[2:])
    async with opened(state, looks, "data.only=id", column="age") as hand:
        await hand.press("space")
        assert hand.status == "! age stays left out (not in data.only): change that in Configure"


async def test_a_column_without_a_name_is_no_target(state: Path, looks: Looks) -> None:
    looks.columns = (replace(COLUMNS[0], name=""), *COLUMNS[1:])
    async with opened(state, looks) as hand:
        assert any(line.startswith("> (no name) ") for line in lines(hand))
        await hand.press("T")
        assert "without a name cannot be the target" in hand.status


async def test_a_sample_is_called_one(state: Path, looks: Looks) -> None:
    looks.sample = "12,000 of 9,000,000 rows, from 8 places of it"
    async with opened(state, looks) as hand:
        assert "a sample: 12,000 of 9,000,000 rows, from 8 places of it, 7 columns." in data(hand).about.text.replace(
            "\n", " "
        )


async def test_an_error_is_told_in_words_and_esc_leads_back(state: Path, looks: Looks) -> None:
    looks.error = DataError("t.csv cannot be read: Permission denied")
    async with opened(state, looks) as hand:
        await looked(hand)
        assert "! t.csv cannot be read: Permission denied. Esc leads back." in data(hand).about.text
        for key in ("space", "x", "T", "u"):
            hand.app.status.tell("")
            await hand.press(key)
            assert hand.status == "! no column is known yet"
        assert settings(hand) == {}
        await hand.press("escape")
        await hand.until(lambda: isinstance(hand.app.front, ConfigureScreen))


async def test_an_error_after_a_change_leaves_the_columns(state: Path, looks: Looks) -> None:
    async with opened(state, looks, column="a") as hand:
        looks.error = DataError("column 'a' is in two lists")
        await hand.press("space")
        await looked(hand)
        assert "! column 'a' is in two lists" in data(hand).about.text
        assert len(data(hand).columns.shown) == 7
        looks.error = None
        await hand.press("u")
        await looked(hand)
        assert "!" not in data(hand).about.text


async def test_leaving_ends_a_look(state: Path, looks: Looks) -> None:
    looks.hold()
    async with opened(state, looks) as hand:
        await hand.press("escape")
        await hand.until(lambda: isinstance(hand.app.front, ConfigureScreen) and looks.stopped == 1)
        looks.release()


async def test_the_filter_narrows_the_columns(state: Path, looks: Looks) -> None:
    async with opened(state, looks) as hand:
        await hand.press("slash")
        await hand.type("num")
        await hand.press("enter")
        assert [row.look.name for row in data(hand).columns.shown] == ["age", "a"]
        assert any("filter num" in line for line in lines(hand))
        await hand.press("slash")
        await hand.type("zzz")
        await hand.press("enter", "T")
        assert hand.status == "! No column matches the filter: / changes it."
        await hand.press("escape")
        assert len(data(hand).columns.shown) == 7


async def test_a_live_runs_columns_are_read_only(state: Path, looks: Looks, tmp_path: Path, table: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    live = Settings(training=TrainingConfig(dataset=str(table)), run=RunSettings(output=str(run)))
    write_settings(live, run / "settings.toml")
    async with configure(state) as hand:
        hand.screen.show(snapshot(run, RunState.RUNNING))
        await hand.until(lambda: hand.panel.read_only)
        await hand.press("c")
        await hand.until(lambda: isinstance(hand.app.front, DataScreen) and bool(data(hand).columns.shown))
        assert "Read only: a live run's settings." in data(hand).about.text.replace("\n", " ")
        for key in ("space", "left", "x", "T", "u"):
            hand.app.status.tell("")
            await hand.press(key)
            assert "a live run's settings cannot be changed" in hand.status
        assert len(looks.asked) == 1


async def test_configure_says_what_is_made_of_the_table(state: Path, looks: Looks) -> None:
    async with opened(state, looks, "data.target=price") as hand:
        await hand.press("escape")
        await hand.until(lambda: isinstance(hand.app.front, ConfigureScreen))
        assert hand.details(DATASET) == [
            "60 rows · classification: 3 classes of 'price' · 7 rows without it left out · split: stratified by class"
        ]
        # A changed setting is looked at again in the background.
        hand.panel.change(hand.form.put("data.target", None))
        assert hand.details(DATASET) == []
        await hand.until(lambda: hand.details(DATASET) == ["60 rows · 7 columns · no target is chosen"])


async def test_a_picked_table_is_looked_at_and_the_key_is_told(state: Path, looks: Looks) -> None:
    async with configure(state) as hand:
        footer = hand.screen.query_one("#footer", FooterLine)
        assert "Columns" not in footer.text.plain
        await hand.press("c")
        assert "no table" in hand.status
        await hand.select(DATASET)
        await hand.press("enter")
        assert isinstance(hand.app.screen, FilePicker)
        hand.app.screen.dismiss("t.csv")
        await hand.until(lambda: hand.status == "t.csv: c shows its columns")
        await hand.until(lambda: hand.details(DATASET) == ["60 rows · 7 columns · no target is chosen"])
        assert "c Columns" in footer.text.plain


async def test_what_configure_opens_with_is_not_looked_at(state: Path, looks: Looks) -> None:
    given = FormSource(assignments=("training.dataset=t.csv",))
    async with configure(state, given=given) as hand:
        await hand.press("down", "up")
        assert (looks.asked, hand.details(DATASET)) == ([], [])


async def test_the_real_look(state: Path, table: Path) -> None:
    table.write_text("n;kind\n" + "".join(f"{n},5;{'ab'[n % 2]}\n" for n in range(40)))
    given = FormSource(assignments=("training.dataset=t.csv", "data.target=kind"))
    async with configure(state, given=given) as hand:
        await hand.press("c")
        await hand.until(lambda: isinstance(hand.app.front, DataScreen) and bool(data(hand).columns.shown))
        assert [(row.look.name, row.kind, row.look.distinct) for row in data(hand).columns.shown] == [
            ("n", "number", 40), ("kind", "target", 2),
        ]  # fmt: skip
        await hand.press("escape")
        await hand.until(lambda: isinstance(hand.app.front, ConfigureScreen))
        assert hand.details(DATASET)[0].startswith("40 rows · classification: 2 classes of 'kind'")


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
async def test_every_size_shows_names_kinds_and_the_keys(state: Path, looks: Looks, size: tuple[int, int]) -> None:
    async with opened(state, looks, "data.target=price", size=size) as hand:
        shown = lines(hand)
        assert all(cell_len(line) == size[0] for line in shown)
        text = "\n".join(shown)
        assert ("HISTOGRAM" in text, "WHAT IT IS" in text) == (size[0] >= 80, size[0] >= 200)
        assert all(row.kind in text for row in data(hand).columns.shown[:3])
        assert ("most frequent" in text) is (size[1] >= 20)
        assert "Space Kind" in text


def test_columns_leave_in_order_as_the_list_shrinks() -> None:
    rows = [ColumnRow(position=number, look=column) for number, column in enumerate(COLUMNS)]
    left = []
    for width in range(200, 20, -1):
        layout = column_layout(width, rows)
        for part in ("reason", "histogram", "distinct", "values", "missing"):
            if not getattr(layout, part) and part not in left:
                left.append(part)
        for row in rows:
            if width >= 30:
                assert sum(cell_len(text) for text, _ in column_row(row, layout, UNICODE)) == width - 2
        assert cell_len(titles(layout, UNICODE)[0][0]) == width
    assert left == ["reason", "histogram", "distinct", "values", "missing"]


def test_ascii_alone_draws_it() -> None:
    named = replace(COLUMNS[1], name="größe\x1b[31m", top=(("…", 1),))
    row = ColumnRow(position=0, look=named)
    text = "".join(text for text, _ in column_row(row, column_layout(120, [row]), ASCII))
    assert text.isascii()
    assert "\x1b" not in text
    assert "=. -@@~==*#@" in text


def test_every_action_is_in_the_help() -> None:
    assert {"next_kind", "previous_kind", "ignore_column", "make_target", "reset_column", "filter", "back"} <= {
        action.id for action in actions_of("data")
    }
