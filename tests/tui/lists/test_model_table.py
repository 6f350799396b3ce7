"""The model table: columns, order, selection, marks, and that only changed visible rows are drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from measured import fields
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.geometry import Region

from forge_tui.analysis.ranking import first_of
from forge_tui.protocol.metrics import MetricTable
from forge_tui.protocol.model_state import Failure, ModelState
from forge_tui.protocol.phases import TrainingPhase as Phase
from forge_tui.tui.lists import model_columns, model_order
from forge_tui.tui.lists.model_table import ModelTable
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.glyphs import ASCII, UNICODE

NAN = float("nan")
TABLE = MetricTable()


def model(index: int, **known: Any) -> ModelState:
    values: dict[str, Any] = {"name": f"cognate_planner_{index + 1}", "index": index, "seed": index, "epochs": 100}
    return ModelState(**fields(values | known))


def trained(index: int, loss: float | None, **known: Any) -> ModelState:
    return model(index, phase=Phase.TRAINING, epoch=61, loss=loss, best_loss=loss, **known)


def text_of(table: ModelTable, line: int) -> str:
    return "".join(segment.text for segment in table.render_line(line))


def places(table: ModelTable, lines: range) -> list[str]:
    """What stands under BEST."""
    end = text_of(table, 0).index("BEST") + len("BEST")
    return [text_of(table, line)[:end].split()[-1] for line in lines]


def row_text(state: ModelState, width: int = 80, name_cells: int = 18, place: int | None = None) -> str:
    layout = model_columns.model_layout(width, name_cells, state.epochs)
    return "".join(text for text, _ in model_columns.model_row(state, layout, UNICODE, TABLE, place=place))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TableApp(App[None]):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.clock = Clock()
        self.table = ModelTable(clock=self.clock, **options)
        self.told: list[Any] = []

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.focus()

    def on_virtual_list_selected(self, message: ModelTable.Selected) -> None:
        self.told.append(("selected", message.key))

    def on_virtual_list_opened(self, message: ModelTable.Opened) -> None:
        self.told.append(("opened", message.key))

    def on_model_table_marks_changed(self, message: ModelTable.MarksChanged) -> None:
        self.told.append(("marks", message.marks))


def test_a_sweep_has_a_column_for_what_is_each_configs_own() -> None:
    swept = [trained(index, 0.5, combination={"learning_rate": 0.001 * (index + 1)}) for index in range(2)]
    needed = model_columns.config_cells(swept)
    assert needed == len("learning_rate 0.001")
    assert model_columns.config_cells([trained(0, 0.5)]) == 0
    layout = model_columns.model_layout(120, 18, 100, config_cells=needed)
    assert [column.key for column in layout.columns][:3] == ["name", "config", "phase"]
    line = "".join(text for text, _ in model_columns.model_row(swept[1], layout, UNICODE, TABLE))
    assert " learning_rate 0.002 " in line
    both = [
        trained(index, 0.5, combination={"learning_rate": 0.001 * (index + 1), "batch_size": 16}) for index in (0, 1)
    ]
    narrow = model_columns.model_layout(80, 18, 100, config_cells=model_columns.config_cells(both))
    first, second = (
        "".join(text for text, _ in model_columns.model_row(model, narrow, UNICODE, TABLE)) for model in both
    )
    assert " 0.001, 16 " in first  # names that are cut off would be the same in all rows
    assert " 0.002, 16 " in second
    for width in range(60, 200):
        layout = model_columns.model_layout(width, 18, 100, config_cells=needed)
        assert (
            sum(cell_len(text) for text, _ in model_columns.model_row(swept[0], layout, UNICODE, TABLE))
            == width - model_columns.GUTTER
        )
        assert {"name", "phase", "epoch", "loss", "val"} <= {column.key for column in layout.columns}
    assert "config" in {column.key for column in model_columns.model_layout(80, 18, 100, config_cells=needed).columns}


def test_the_filter_finds_a_config() -> None:
    models = [trained(index, 0.5, combination={"learning_rate": rate}) for index, rate in ((1, 0.002), (2, 0.003))]
    assert model_order.filtered("0.002", models).places == [0]
    assert model_order.filtered("!0.002", models).places == [1]


def test_the_device_of_a_model_is_its_gpu() -> None:
    state = trained(1, 0.5, device="cuda", place={"host": "server", "device": "GPU-5f2a6c1e-0000"})
    assert row_text(state, 200).rstrip().endswith("GPU-5f2a")
    assert row_text(trained(1, 0.5, device="cpu"), 200).rstrip().endswith("cpu")


def test_columns_leave_in_their_order_as_the_width_shrinks() -> None:
    left: list[str] = []
    before = {column.key for column in model_columns.model_layout(200, 18, 100).columns}
    for width in range(200, 40, -1):
        now = {column.key for column in model_columns.model_layout(width, 18, 100).columns}
        left += before - now
        before = now
    assert left == ["device", "attempt", "time", "steps", "trend", "eta", "best", "val"]
    assert before == {"name", "phase", "epoch", "loss"}


def test_at_80_cells_a_usual_run_shows_all_but_the_extra_columns() -> None:
    layout = model_columns.model_layout(80, len("cognate_planner_12"), 100)
    assert " ".join(column.key for column in layout.columns) == "name phase epoch loss best val trend eta"
    assert layout.columns[0].width == 18


@pytest.mark.parametrize("width", [1, 20, 60, 80, 97, 120, 200])
@pytest.mark.parametrize(
    "name", ["m", "計劃器" * 30, "cafe\u0301 [/b] \x1b[31m👩‍👩‍👧", "x" * 300, "\u0301\u0301", "é" * 18]
)
def test_rows_take_exactly_their_width_whatever_the_name(width: int, name: str) -> None:
    failure = Failure(model=name, index=0, attempt=2, kind="exception", message=f"Error: {name}\n\x1b]0;x\x07")
    for state in (
        trained(0, 1e-12, name=name, trend=(1.0, None, NAN)),
        model(0, name=name, phase=Phase.FAILED, failures=(failure,)),
    ):
        text = row_text(state, width, cells.width_of(name))
        assert cell_len(text) == max(0, width - model_columns.GUTTER)
        assert not any(ord(character) < 32 for character in text)


def test_a_row_says_what_is_known_and_a_dash_for_the_rest() -> None:
    state = trained(1, 0.0412, validation_accuracy=0.972, eta_seconds=41.0, trend=(4.0, 3.0, 2.0, 1.0))
    assert row_text(state, place=3).split() == [
        *("cognate_planner_2", "●", "train", "61/100", "━──", "0.0412", "3", "97.2%", "█▆▃▁", "0:41"),
    ]
    assert row_text(state, place=100).split()[6] == ">99"
    assert row_text(model(1)).split()[4:] == ["───", "—", "—", "—", "—"]


def test_the_time_column_is_what_was_measured_and_else_of_the_wall_clock() -> None:
    layout = model_columns.model_layout(160, 18, 100)

    def shown(state: ModelState, run_seconds: float, now: float) -> str:
        line = [
            text for text, _ in model_columns.model_row(state, layout, UNICODE, TABLE, state.took(run_seconds, now))
        ]
        end = sum(column.gap + column.width for column in layout.columns[: [*_keys(layout)].index("time") + 1])
        return "".join(line)[:end].split()[-1]

    measured = trained(0, 0.5, started=1_000.0, seconds=20.0, active_since=100.0)
    assert shown(measured, 107.0, 1e9) == "0:27"
    assert shown(replace(measured, active_since=None, finished=9e9), 500.0, 0.0) == "0:20"
    assert shown(trained(0, 0.5, started=1_000.0), 107.0, 1_041.0) == "0:41"
    assert shown(trained(0, 0.5), 107.0, 1_041.0) == "—"


def _keys(layout: model_columns.Layout) -> list[str]:
    return [column.key for column in layout.columns]


def test_a_failed_row_shows_its_failure_and_a_nan_is_never_a_number() -> None:
    failure = Failure(model="m", index=0, attempt=2, kind="out_of_memory", message="OutOfMemoryError: CUDA", epoch=33)
    failed = model(0, phase=Phase.FAILED, epoch=33, failures=(failure,), loss=0.5)
    assert "✗ failed  33/100  OutOfMemoryError, attempt 2: CUDA" in " ".join(row_text(failed).split(" "))
    diverged = model(0, phase=Phase.FAILED, epoch=33, failures=(Failure(**_diverged()),), diverged=True)
    assert row_text(diverged).rstrip().endswith("diverged at epoch 33, attempt 1")
    assert "diverged" in row_text(trained(0, None, diverged=True))
    assert "nan" not in row_text(trained(0, NAN)).casefold()


def _diverged() -> dict[str, Any]:
    return {"model": "m", "index": 0, "attempt": 1, "kind": "diverged", "message": "loss is NaN", "epoch": 33}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "—"), (NAN, "—"), (0.0, "0"), (0.04123, "0.0412"), (9.99996, "10.000"), (123.456, "123.46")),
        *((99999.96, "100000"), (1.5e7, "1.5e7"), (-0.5, "-0.5000"), (4.12e-4, "4.1e-4"), (1e-300, "1e-300")),
    ],
)
def test_numbers_fit_six_cells(value: float | None, text: str) -> None:
    assert cells.short_number(value, UNICODE) == text
    assert len(text.removeprefix("-")) <= cells.NUMBER_CELLS


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "—"), (41, "0:41"), (3599, "59:59"), (11220, "3h07m"), (86399, "23h59"), (187200, "2d04h"), (9e7, "1041d")],
)
def test_durations_fit_five_cells(seconds: float | None, text: str) -> None:
    assert cells.short_duration(seconds, UNICODE) == text


def test_trend_compresses_and_shows_gaps() -> None:
    assert cells.sparkline((8.0, 8.0, 4.0, 4.0, 1.0, 1.0), 3, UNICODE) == "█▄▁"
    assert cells.sparkline((2.0, None, 1.0), 6, UNICODE) == "█×▁"
    assert cells.sparkline((0.1,) * 24, 5, UNICODE) == "▄▄▄▄▄"
    assert cells.sparkline((2.0, None, 1.0), 6, ASCII) == "@x_"


@pytest.mark.parametrize("key", ["loss", "best", "val", "eta"])
@pytest.mark.parametrize("reverse", [False, True])
def test_unknown_and_nan_sort_last_in_both_directions(key: str, reverse: bool) -> None:
    models = [
        trained(index, value, validation_loss=value, eta_seconds=value)
        for index, value in enumerate((None, 2.0, NAN, 1.0))
    ]
    found = model_order.sort_positions(models, range(4), key, reverse, TABLE)
    assert found == ([1, 3, 0, 2] if reverse else [3, 1, 0, 2])


def test_names_sort_by_their_numbers_and_an_unknown_key_is_refused() -> None:
    models = [model(0, name="m_10"), model(1, name="m_9"), model(2, name="M_1")]
    assert model_order.sort_positions(models, range(3), "name", False, TABLE) == [2, 1, 0]
    with pytest.raises(ValueError, match="no sort key 'colour'"):
        model_order.sort_positions(models, range(3), "colour", False, TABLE)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        *(("", [0, 1, 2]), ("planner", [0, 1, 2]), ("_1", [0]), ("fail", [1]), ("phase:failed", [1])),
        *(("phase:train", [0]), ("TRAIN planner", [0]), ("queued planner_2", []), ("tr", [])),
        *(("!failed", [0, 2]), ("!phase:train !queued", [1]), ("!planner", []), ("!", [0, 1, 2]), ("cp3", [2])),
    ],
)
def test_filter_words(words: str, expected: list[int]) -> None:
    models = [trained(0, 1.0), model(1, phase=Phase.FAILED), model(2)]
    assert model_order.filtered(words, models).places == expected


async def test_only_changed_visible_rows_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    app = TableApp()
    models = tuple(trained(index, 1.0 + index) for index in range(1000))
    async with app.run_test(size=(80, 11)) as pilot:
        app.table.show(models)
        await pilot.pause()
        drawn: list[tuple[Region, ...]] = []
        monkeypatch.setattr(app.table, "refresh", lambda *regions, **_: drawn.append(regions))
        changed = {3: trained(3, 3.5), 500: trained(500, 499.5)}
        app.table.show(tuple(changed.get(index, state) for index, state in enumerate(models)))
        assert drawn == [(Region(0, 4, 80, 1),)]
        monkeypatch.undo()
        assert "3.5000" in text_of(app.table, 4)
        changed[9] = trained(9, 1.5)  # in sight, and so the places of those between change
        monkeypatch.setattr(app.table, "refresh", lambda *regions, **_: drawn.append(regions))
        app.table.show(tuple(changed.get(index, state) for index, state in enumerate(models)))
        assert drawn[1:] == [tuple(Region(0, line, 80, 1) for line in range(2, 11))]
        assert places(app.table, range(1, 11)) == ["1", "3", "4", "5", "6", "7", "8", "9", "10", "2"]


async def test_selection_follows_its_model_through_sorting_and_filtering() -> None:
    app = TableApp()
    async with app.run_test(size=(80, 11)) as pilot:
        app.table.show(tuple(trained(index, float(10 - index)) for index in range(10)))
        app.table.move(2)
        assert app.table.selected == "cognate_planner_3"
        app.table.set_sort("loss")
        assert app.table.selected == "cognate_planner_3"
        assert app.table.shown_names[0] == "cognate_planner_10"
        assert text_of(app.table, 8).startswith("> cognate_planner_3 ")
        app.table.set_filter("planner_1")
        assert app.table.shown_names == ("cognate_planner_10", "cognate_planner_1")
        assert app.table.selected == "cognate_planner_1"
        app.table.set_filter("nothing like it")
        assert app.table.selected is None
        assert "No model matches" in text_of(app.table, 1)
        await pilot.pause()
        assert app.told[-1] == ("selected", None)


async def test_changing_data_is_sorted_every_two_seconds_and_not_within_two_of_a_key() -> None:
    app = TableApp()
    losses = [3.0, 2.0, 1.0]

    def show() -> tuple[str, ...]:
        app.table.show(tuple(trained(index, loss) for index, loss in enumerate(losses)))
        return tuple(name[-1] for name in app.table.shown_names)

    async with app.run_test(size=(80, 11)):
        show()
        app.table.set_sort("loss")
        assert show() == ("3", "2", "1")
        losses[2] = 9.0
        app.clock.now += 1.9
        assert show() == ("3", "2", "1")
        app.table.move(1)
        app.clock.now += 1.9
        assert show() == ("3", "2", "1")
        app.clock.now += 0.2
        assert show() == ("2", "1", "3")


async def test_data_that_stops_changing_still_gets_sorted() -> None:
    app = TableApp()
    async with app.run_test(size=(80, 11)) as pilot:
        app.table.show((trained(0, 1.0), trained(1, 2.0)))
        app.table.set_sort("loss")
        app.clock.now += 1.99
        app.table.show((trained(0, 3.0), trained(1, 2.0)))
        assert app.table.shown_names == ("cognate_planner_1", "cognate_planner_2")
        app.clock.now += 1.0
        while app.table.shown_names[0] == "cognate_planner_1":
            await pilot.pause(0.01)
        assert text_of(app.table, 1).split()[0] == "cognate_planner_2"


async def test_without_colours_the_cursor_is_reversed_and_has_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = TableApp()
    async with app.run_test(size=(80, 11)) as pilot:
        app.table.show((trained(0, 1.0), trained(1, 2.0)))
        await pilot.pause()
        styles = {segment.style.reverse for segment in app.table.render_line(1) if segment.style is not None}
        assert styles == {True}
        assert text_of(app.table, 1).startswith("> ")
        assert not any(segment.style is None or segment.style.reverse for segment in app.table.render_line(2))


async def test_marks_and_messages() -> None:
    app = TableApp()
    async with app.run_test(size=(80, 11)) as pilot:
        app.table.show((model(0), model(1, phase=Phase.FAILED), model(2)))
        app.table.move(1)
        app.table.action_mark()
        app.table.move(-1)
        assert app.table.marks == {"cognate_planner_2"}
        assert text_of(app.table, 2).startswith(">*cognate_planner_2")
        app.table.move_to("last")
        assert text_of(app.table, 2).startswith("* cognate_planner_2")
        app.table.action_mark_all()
        assert len(app.table.marks) == 3
        app.table.show((model(0),))
        assert app.table.marks == {"cognate_planner_1"}
        app.table.action_mark_none()
        app.table.action_open()
        await pilot.pause()
        assert ("opened", "cognate_planner_1") in app.told
        assert app.told.count(("marks", frozenset())) == 1


async def test_moving_scrolls_and_says_which_rows_are_in_view() -> None:
    app = TableApp()
    async with app.run_test(size=(80, 9)) as pilot:
        assert app.table.visible_range == ""
        assert "No models yet" in text_of(app.table, 1)
        app.table.show(tuple(model(index) for index in range(12)))
        await pilot.pause()
        assert app.table.visible_range == "rows 1–8 of 12"
        app.table.move_to("last")
        assert app.table.visible_range == "rows 5–12 of 12"
        app.table.page(-1)
        assert app.table.selected == "cognate_planner_5"
        app.table.move(-99)
        assert (app.table.selected, app.table.visible_range) == ("cognate_planner_1", "rows 1–8 of 12")
        app.table.set_filter("planner_12")
        assert app.table.visible_range == "rows 1–1 of 1 (12 in all)"


async def test_following_the_best_selects_it_until_a_move() -> None:
    app = TableApp()
    async with app.run_test(size=(80, 11)):
        app.table.follow_best = True
        app.table.show((trained(0, 1.0), trained(1, 0.5), trained(2, NAN)))
        assert app.table.selected == "cognate_planner_2"
        app.table.show((trained(0, 0.1), trained(1, 0.5), trained(2, NAN)))
        assert app.table.selected == "cognate_planner_1"
        app.table.move(1)
        assert not app.table.follow_best


# The lowest training loss, the lowest validation loss and the highest accuracy are three different models'.
OVERFITTED = (
    trained(0, 0.1, validation_loss=0.4, validation_accuracy=0.80),
    trained(1, 0.3, validation_loss=0.2, validation_accuracy=0.85),
    trained(2, 0.2, validation_loss=0.3, validation_accuracy=0.90),
    trained(3, None, diverged=True),
)


async def test_the_best_is_told_by_validation_as_forge_tui_best_does() -> None:
    app = TableApp()
    async with app.run_test(size=(80, 11)):
        app.table.follow_best = True
        app.table.show(OVERFITTED)
        best = first_of(OVERFITTED, TABLE)
        assert best is not None
        assert (best.model.name, app.table.selected) == ("cognate_planner_3",) * 2
        assert places(app.table, range(1, 5)) == ["3", "2", "1", "—"]
        app.table.set_filter("planner_2")
        app.table.show(OVERFITTED[:3])
        assert app.table.selected == "cognate_planner_2"  # of those that are shown
        app.table.set_filter("")
        app.table.show(OVERFITTED)
        app.table.set_sort("best")
        assert [name[-1] for name in app.table.shown_names] == ["3", "2", "1", "4"]
        app.table.set_sort("best", reverse=True)
        assert [name[-1] for name in app.table.shown_names] == ["1", "2", "3", "4"]


async def test_clicks_select_open_and_sort() -> None:
    app = TableApp()
    async with app.run_test(size=(80, 11)) as pilot:
        app.table.show((trained(0, 1.0), trained(1, 0.5)))
        await pilot.pause()
        await pilot.click(ModelTable, offset=(10, 2))
        assert app.table.selected == "cognate_planner_2"
        await pilot.click(ModelTable, offset=(10, 1), times=2)
        await pilot.pause()
        assert app.told[-1] == ("opened", "cognate_planner_1")
        loss = text_of(app.table, 0).index("LOSS")
        await pilot.click(ModelTable, offset=(loss, 0))
        assert (app.table.sort_key, app.table.sort_reversed) == ("loss", False)
        await pilot.click(ModelTable, offset=(loss, 0))
        assert app.table.sort_reversed
        assert "LOSS▼" in text_of(app.table, 0)


async def test_ascii_glyphs_leave_nothing_else_on_the_screen() -> None:
    app = TableApp(glyphs=ASCII)
    async with app.run_test(size=(120, 11)):
        app.table.show(
            (trained(0, 1.0, name="計劃器", trend=(1.0, None)), *(model(1 + n, phase=p) for n, p in enumerate(Phase)))
        )
        assert all(text_of(app.table, line).isascii() for line in range(11))
        assert app.table.visible_range == "rows 1-10 of 10"
