"""The pictures of the pages look the same without network and fonts, and are small enough for a page."""

from __future__ import annotations

import re

import pytest
from doc_pages import PAGES, ROOT, links

_MOST_BYTES = 500_000
_MOST_ALL_BYTES = 1_500_000


def pictures() -> set[str]:
    """The pictures that pages show, by their path in the repository."""
    found = set()
    for page in PAGES:
        for link in links(page.read_text(encoding="utf-8")):
            if re.search(r"\.(svg|png|gif)$", link):
                found.add(str((page.parent / link).resolve().relative_to(ROOT)))
    return found


def test_the_front_page_has_a_recording_and_the_guide_has_pictures() -> None:
    found = pictures()
    assert "docs/pictures/session.gif" in found
    assert len(found) >= 5
    sizes = {name: (ROOT / name).stat().st_size for name in found}
    assert max(sizes.values()) <= _MOST_BYTES, sizes
    assert sum(sizes.values()) <= _MOST_ALL_BYTES, sizes


def test_no_picture_asks_for_a_font_or_anything_else() -> None:
    """Pixels only: SVG pictures of Textual name fonts of a web server."""
    for name in pictures():
        assert (ROOT / name).read_bytes()[:4] in (b"\x89PNG", b"GIF8"), name


def test_no_picture_is_left_over() -> None:
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "pictures").iterdir()}
    assert there == {name for name in pictures() if name.startswith("docs/pictures/")}


def test_the_recording_moves_and_repeats() -> None:
    Image = pytest.importorskip("PIL.Image")
    with Image.open(ROOT / "docs" / "pictures" / "session.gif") as recording:
        assert recording.n_frames >= 10
        assert recording.info["loop"] == 0
        assert recording.width <= 1_000


def test_blocks_and_braille_fill_what_they_stand_for() -> None:
    pytest.importorskip("matplotlib")
    from terminal_picture import shapes

    assert shapes("█", 8, 16) == ((0, 0, 8, 16),)
    assert shapes("▄", 8, 16) == ((0, 8, 8, 16),)
    assert shapes("▌", 8, 16) == ((0, 0, 4, 16),)
    assert shapes("▚", 8, 16) == ((0, 0, 4, 8), (4, 8, 8, 16))
    assert shapes("⣿", 8, 16) is not None
    assert len(shapes("⣿", 8, 16) or ()) == 8
    assert shapes("⠁", 8, 16) == ((1, 1, 3, 3),)
    assert shapes("A", 8, 16) is None
