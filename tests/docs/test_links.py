"""Links between the pages lead somewhere, and every page is reached."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_pages import PAGES, README, ROOT, anchors, links, section


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere in this repository."""
    found = []
    for link in links(page.read_text(encoding="utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or not target.is_relative_to(ROOT):
            found.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            found.append(f"{link}: no such heading")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_missing_file_and_a_missing_heading_are_found(tmp_path: Path) -> None:
    page = ROOT / "docs" / "README.md"
    assert anchors("# A `b` [c](d) – e!\n## A\n## A\n```\n# no\n```\n") == {"a-b-c--e", "a", "a-1"}
    assert links("[a](b.md) `[c](d.md)` ![e](f.svg)\n```\n[g](h)\n```\n") == ["b.md", "f.svg"]
    assert broken(page) == []


def test_every_page_is_reached_from_the_front_page() -> None:
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for link in links(page.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                waiting.append((page.parent / link.partition("#")[0]).resolve())
    assert [page for page in PAGES if page not in reached] == []


def test_paths_of_the_package_that_pages_name_exist() -> None:
    """Such as `runner/scheduler.py`, `runner/scheduler` and `runs/`, below `forge_tui/` or from the root."""
    for page in (ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"):
        for name in re.findall(r"`([\w./]+\.py|[\w.]+/[\w./]*)`", page.read_text(encoding="utf-8")):
            places = (ROOT / name, ROOT / "forge_tui" / name, ROOT / "forge_tui" / f"{name}.py")
            assert any(place.exists() for place in places), f"{page.name}: {name}"


def test_a_section_ends_at_the_next_heading_of_its_level() -> None:
    text = "# A\n## B\nb\n### C\n```\n## no heading\n```\nc\n## D\nd\n"
    assert section(text, "## B") == "b\n### C\n```\n## no heading\n```\nc\n"
    assert section(text, "### C") == "```\n## no heading\n```\nc\n"
