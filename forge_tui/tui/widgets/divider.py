"""The line below a list: what is in it at the left, the visible rows at the right."""

from __future__ import annotations

from collections.abc import Sequence

from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.glyphs import Glyphs
from forge_tui.tui.widgets.line import Line

_LEAST_WIDTH = 20


class Divider(Line):
    """A ruled line between a list and what is below it."""

    def draw(self, glyphs: Glyphs, parts: Sequence[str], visible_range: str) -> None:
        """Show `parts` with dashes between them, and the visible range; the parts are cut first."""
        dash = glyphs.axis_horizontal
        left = f"{dash} {f' {dash} '.join(parts)} " if parts else ""
        right = f" {visible_range}" if visible_range else ""
        width = max(_LEAST_WIDTH, self.size.width or self.app.size.width)
        left = cells.left(left, min(cells.width_of(left), width - len(right)), glyphs.ellipsis)
        self.show(left + dash * max(0, width - cells.width_of(left) - len(right)) + right)
