"""The pages of the documentation, taken apart: sections, blocks, links and anchors."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = (README, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
_FENCED = re.compile(r"^(`{3,})(\w*)[^\n]*\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)


def text_of(page: str | Path) -> str:
    """The text of a page, given from the root of the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What follows `heading` (such as `## Quick start`), up to the next heading of its level or above."""
    _, _, rest = f"\n{_hidden(text)}".partition(f"\n{heading}\n")
    assert rest, f"there is no {heading!r}"
    level = len(heading.split(" ")[0])
    end = re.search(rf"^#{{1,{level}}} ", rest, re.MULTILINE)
    start = len(text) - len(rest)
    return text[start : start + end.start()] if end else text[start:]


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of each fenced block, in order."""
    return [(match[2], match[3]) for match in _FENCED.finditer(text)]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    result = set()
    for heading in re.findall(r"^#{1,6} (.*)$", _hidden(text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        result.add(f"{slug}-{count}" if count else slug)
    return result


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures, without those in blocks and code."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", _hidden(text)))


def _hidden(text: str) -> str:
    """`text` with the content of fenced blocks made blank, at its length."""
    return _FENCED.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def generator() -> ModuleType:
    """The module `docs/generate.py`."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
