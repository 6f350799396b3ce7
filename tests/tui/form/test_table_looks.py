"""Looks in the background: after a pause, the newest only, and what is known stays known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_looks import Looks

from forge_tui.errors import ForgeError
from forge_tui.protocol.table_look import TableLook
from forge_tui.settings.schema import Settings, TrainingConfig, fields_of
from forge_tui.settings.setting_layers import Layer, Source
from forge_tui.tui.form.form_values import Form, form_of
from forge_tui.tui.form.kinds import Kind
from forge_tui.tui.form.table_looks import TableLooks


class Timer:
    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def stop(self) -> None:
        self.act = None


class Bench:
    """Threads and timers that the test carries on by hand."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []
        self.calls: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self.script = Looks()
        self.looks = TableLooks(self._call, self._set_timer, self.script)
        self.news = 0
        self.looks.changed.append(self._count)

    def _count(self) -> None:
        self.news += 1

    def _call(self, function: Callable[[], Any], then: Callable[[Any], None], subject: str = "") -> None:
        self.calls.append((function, then))

    def _set_timer(self, seconds: float, act: Callable[[], None]) -> Timer:
        self.timers.append(Timer(act))
        return self.timers[-1]

    def fire(self) -> None:
        due, self.timers = self.timers, []
        for timer in due:
            if timer.act is not None:
                timer.act()

    def answer(self, which: int = 0) -> None:
        function, then = self.calls.pop(which)
        try:
            then(function())
        except ForgeError as error:
            then(error)


def form(dataset: str = "t.csv") -> Form:
    settings = Settings(training=TrainingConfig(dataset=dataset))
    return form_of(settings, {key.key: Source(Layer.DEFAULT) for key in fields_of()})


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_look_begins_after_a_pause_and_is_known_then(bench: Bench) -> None:
    bench.looks.want(form())
    assert bench.script.asked == []
    bench.fire()
    assert bench.looks.known(form()) is None
    bench.answer()
    found = bench.looks.known(form())
    assert isinstance(found, TableLook)
    assert (found.rows, bench.news) == (60, 1)
    assert bench.script.paths == [Path("t.csv")]
    assert "validation_fraction" not in bench.script.asked[0]  # of which the look does not depend


def test_of_several_changes_only_the_newest_is_looked_at(bench: Bench) -> None:
    for target in ("p", "pr", "price"):
        bench.looks.want(form().put("data.target", target))
    bench.fire()
    assert [asked["target"] for asked in bench.script.asked] == ["price"]


def test_an_older_look_is_ended_and_its_answer_dropped(bench: Bench) -> None:
    old, new = form(), form().put("data.target", "price")
    bench.looks.want(old)
    bench.fire()
    bench.looks.want(new)
    assert bench.script.stopped == 1
    bench.fire()
    bench.answer()
    assert (bench.looks.known(old), bench.news) == (None, 0)
    bench.answer()
    assert isinstance(bench.looks.known(new), TableLook)


def test_what_is_known_is_not_looked_at_again_unless_anew(bench: Bench) -> None:
    bench.looks.want(form(), anew=True)
    bench.answer()
    bench.looks.want(form())
    bench.fire()
    assert len(bench.script.asked) == 1
    bench.looks.want(form(), anew=True)
    assert len(bench.script.asked) == 2


def test_going_back_to_what_is_known_ends_the_look_at_the_other(bench: Bench) -> None:
    bench.looks.want(form(), anew=True)
    bench.answer()
    bench.looks.want(form().put("data.target", "price"))
    bench.looks.want(form())
    bench.fire()
    assert len(bench.script.asked) == 1


def test_stop_ends_what_is_under_way(bench: Bench) -> None:
    bench.looks.want(form(), anew=True)
    bench.looks.want(form().put("data.target", "price"))
    bench.looks.stop()
    bench.fire()
    bench.answer()
    assert (len(bench.script.asked), bench.script.stopped, bench.news) == (1, 1, 0)


def test_any_path_can_be_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    for name, expected in (("~/t.csv", "/home/ada/t.csv"), ("~nobody-here/t.csv", "~nobody-here/t.csv")):
        bench.looks.want(form(name), anew=True)
        assert bench.script.paths[-1] == Path(expected)


def test_an_error_is_known_too(bench: Bench) -> None:
    bench.script.error = ForgeError("there is no such file")
    bench.looks.want(form(), anew=True)
    bench.answer()
    assert str(bench.looks.known(form())) == "there is no such file"


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("t.csv", True), ("a/t.csv.gz", True), ("t.parquet", True), ("synthetic", False), ("t.npy", False)],
)
def test_which_datasets_have_columns(dataset: str, expected: bool) -> None:
    assert form(dataset).has_columns is expected
    assert not form(dataset).train(Kind.FUNCTION).has_columns
