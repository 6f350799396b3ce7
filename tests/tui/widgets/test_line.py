"""A line is painted again only where its text differs."""

from __future__ import annotations

import pytest
from rich.text import Text

from forge_tui.tui.widgets.line import _differing


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("CPU 46% MEM", "CPU 51% MEM", (4, 2)),
        ("ETA 03:12", "ETA 03:11", (8, 1)),
        ("名 1 名", "名 2 名", (3, 1)),
        ("aa名", "a名a", (1, 3)),
    ],
)
def test_the_cells_that_differ(old: str, new: str, part: tuple[int, int]) -> None:
    (region,) = _differing(Text(old), Text(new), 80)
    assert (region.x, region.width, region.y, region.height) == (*part, 0, 1)


@pytest.mark.parametrize(
    ("old", "new", "width"),
    [
        (Text("CPU 9%"), Text("CPU 10%"), 80),
        (Text("aa"), Text("a名"), 80),
        (Text("a1", style="red"), Text("a2"), 80),
        (Text("a1", spans=[]), Text.assemble("a", ("2", "red")), 80),
        (Text("0123456789"), Text("0123456780"), 9),
    ],
)
def test_all_of_it_where_more_than_letters_may_differ(old: Text, new: Text, width: int) -> None:
    assert _differing(old, new, width) == ()
