"""Which models train together, at the start and after a resume."""

from __future__ import annotations

from typing import Any

import pytest

from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.runner import groups
from forge_tui.settings.schema import from_plain

NAMES = ("m_1", "m_2", "m_3", "m_4", "m_5")


def models(**changes: dict[str, Any]) -> list[ModelState]:
    """Five models that wait, with `changes` by name."""
    return [
        ModelState(**{"name": name, "index": index, "seed": index, "epochs": 10, **changes.get(name, {})})
        for index, name in enumerate(NAMES, 1)
    ]


def test_at_the_start_neighbours_go_together() -> None:
    assert groups.queued(models(), 2) == [(1, 2), (3, 4), (5,)]
    assert groups.queued(models(), 1) == [(1,), (2,), (3,), (4,), (5,)]
    assert groups.queued(models(), 8) == [(1, 2, 3, 4, 5)]


def test_a_resume_keeps_groups_and_lets_those_that_left_go_on_alone() -> None:
    together = {"started": 1.0, "group": ("m_1", "m_2", "m_3")}
    found = models(m_1=together, m_2={**together, "group": None}, m_3=together)
    assert groups.queued(found, 3) == [(1, 3), (2,), (4, 5)]


def test_what_has_ended_is_in_no_group() -> None:
    found = models(m_1={"phase": TrainingPhase.COMPLETED}, m_4={"phase": TrainingPhase.CANCELLED})
    assert groups.queued(found, 2) == [(2,), (3,), (5,)]


def test_halves_that_were_begun_stay_halves() -> None:
    first, second = ({"started": 1.0, "group": half} for half in (NAMES[:2], NAMES[2:4]))
    found = models(m_1=first, m_2=first, m_3=second, m_4=second)
    assert groups.queued(found, 4) == [(1, 2), (3, 4), (5,)]


@pytest.mark.parametrize(("group", "expected"), [((1, 2), [(1,), (2,)]), ((1, 2, 3), [(1, 2), (3,)])])
def test_halves(group: groups.Group, expected: list[groups.Group]) -> None:
    assert groups.halves(group) == expected


@pytest.mark.parametrize(("mode", "width", "count"), [("series", 1, 5), ("parallel", 3, 2)])
def test_series_never_trains_together(mode: str, width: int, count: int) -> None:
    settings = from_plain({"training": {"training_mode": mode}, "run": {"models": 5}, "engine": {"fuse": 3}})
    assert (groups.width(settings), groups.group_count(settings)) == (width, count)
