"""The look of the model table: component classes with colours, and rows as cached strips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from forge_tui.protocol.model_state import ModelState
from forge_tui.tui.widgets.cells import Piece

PREFIX = "model-table--"
NAMES = (
    *("header", "sorted", "name", "number", "quiet", "active", "paused", "done", "failed", "bar", "trend"),
    *("mark", "cursor", "cursor-blurred", "empty"),
)
COMPONENTS = tuple(PREFIX + name for name in NAMES)
CSS = """
ModelTable {
    scrollbar-size: 0 0;
    overflow-x: hidden;
    overflow-y: scroll;
    & > .model-table--header { color: $foreground 60%; }
    & > .model-table--sorted { color: $foreground; text-style: bold; }
    & > .model-table--name { color: $foreground; }
    & > .model-table--number { color: $foreground; }
    & > .model-table--quiet { color: $foreground 50%; }
    & > .model-table--active { color: $primary-lighten-2; }
    & > .model-table--paused { color: $warning; }
    & > .model-table--done { color: $success; }
    & > .model-table--failed { color: $error-lighten-2; }
    & > .model-table--bar { color: $primary-lighten-1; }
    & > .model-table--trend { color: $primary-lighten-2; }
    & > .model-table--mark { color: $warning; text-style: bold; }
    & > .model-table--cursor { background: $primary; color: $text; text-style: bold; }
    & > .model-table--cursor-blurred { background: $surface-lighten-2; }
    & > .model-table--empty { color: $foreground 60%; }
    &:light > .model-table--active { color: $primary-darken-1; }
    &:light > .model-table--failed { color: $error; }
    &:light > .model-table--bar { color: $primary; }
    &:light > .model-table--trend { color: $primary-darken-1; }
    &:ansi > .model-table--header { color: ansi_default; text-style: dim; }
    &:ansi > .model-table--quiet { color: ansi_default; text-style: dim; }
    &:ansi > .model-table--empty { color: ansi_default; }
    &:ansi > .model-table--cursor {
        background: ansi_default; color: ansi_default; text-style: reverse bold;
    }
    &:ansi > .model-table--cursor-blurred { background: ansi_default; text-style: bold; }
    &:nocolor > .model-table--cursor {
        background: $background; color: $foreground; text-style: reverse bold;
    }
    &:nocolor > .model-table--cursor-blurred { text-style: bold; }
}
"""
State = Literal["", "cursor", "cursor-blurred"]
RowKey = tuple[int, State, bool, bool, int | None]
"""The model, the state of its row, its mark, whether it is chosen, and its rank."""
_CACHED_ROWS = 1024


class Painter:
    """Turns pieces of text into strips in the styles of a theme, and keeps the strips of rows that do not change."""

    def __init__(self, style_of: Callable[..., Style]) -> None:
        """`style_of` is the widget's `get_component_rich_style`."""
        self._style_of = style_of
        self._styles: dict[str, Style] = {}
        self._rows: dict[RowKey, tuple[ModelState, Strip]] = {}

    def forget_rows(self) -> None:
        """Clear the cached rows, after a change of the layout."""
        self._rows.clear()

    def forget_styles(self) -> None:
        """The theme changed."""
        self._styles.clear()
        self._rows.clear()

    def row(self, key: RowKey, model: ModelState, draw: Callable[[], list[Piece]], width: int) -> Strip:
        """The strip of a model, cached if the model is the same object."""
        kept = self._rows.get(key)
        if kept is not None and kept[0] is model:
            return kept[1]
        if len(self._rows) >= _CACHED_ROWS:
            self._rows.clear()
        strip = self.strip(draw(), width, key[1])
        self._rows[key] = (model, strip)
        return strip

    def strip(self, runs: list[Piece], width: int, state: State = "") -> Strip:
        """Pieces of text that take `width` cells together, as a strip."""
        styles = self._styles or self._load()
        if state == "cursor":
            # One style for the whole row: cell colours may lack contrast to the cursor's.
            return Strip([Segment("".join(text for text, _ in runs), styles["cursor"])], width)
        if state == "cursor-blurred":
            return Strip([Segment(text, styles["blurred " + name]) for text, name in runs], width)
        return Strip([Segment(text, styles[name]) for text, name in runs], width)

    def _load(self) -> dict[str, Style]:
        # Not the partial styles: those leave out how transparent a colour is.
        styles = {name: self._style_of(PREFIX + name) for name in NAMES}
        background = self._style_of(PREFIX + "cursor-blurred", partial=True)
        self._styles = styles | {"blurred " + name: style + background for name, style in styles.items()}
        return self._styles
