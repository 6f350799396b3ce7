"""Warns about code that new settings from an untrusted run would execute."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge_tui.errors import ForgeError
    from forge_tui.tui.app_interface import Teller


def tell_untrusted(app: Teller, what: list[str] | ForgeError) -> None:
    """Warn about `what`: the code; empty, or the error if it is unknown."""
    if isinstance(what, list) and what:
        app.tell(f"you have not started that run: Ctrl+R would run its {'; '.join(what)}", "warning")
