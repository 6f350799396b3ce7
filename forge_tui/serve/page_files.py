"""The files of the page: ours, and the terminal of textual-serve. Each is named here; nothing else is ever sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from forge_tui.errors import UsageError

INDEX = "index.html"
_OURS = {INDEX: "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_THEIRS = {
    "xterm.css": ("css/xterm.css", "text/css"),
    "textual.js": ("js/textual.js", "text/javascript"),
    "mono.ttf": ("fonts/RobotoMono-VariableFont_wght.ttf", "font/ttf"),
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file's content and its media type."""

    content: bytes
    media_type: str


def page_files() -> Mapping[str, PageFile]:
    """All files of the page by name. Raises `UsageError` if textual-serve is not there, or is another one."""
    ours, theirs = files("forge_tui.serve") / "page", files("textual_serve") / "static"
    found = {name: PageFile((ours / name).read_bytes(), kind) for name, kind in _OURS.items()}
    try:
        return found | {name: PageFile((theirs / path).read_bytes(), kind) for name, (path, kind) in _THEIRS.items()}
    except OSError as error:
        raise UsageError(
            f"textual-serve has no {error.filename}: this version is not the one that forge-tui was made for; "
            "install it with `pip install 'forge-tui[serve]'`"
        ) from None
