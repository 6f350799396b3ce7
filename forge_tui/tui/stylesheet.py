"""The app's stylesheet, with a cache so that the first paint does not parse it three times."""

from __future__ import annotations

from textual.css.stylesheet import Stylesheet


class KeptStylesheet(Stylesheet):
    """Textual parses everything again when a theme is set, twice, and at every start (5 ms each for ours)."""

    def set_variables(self, variables: dict[str, str]) -> None:
        """Set the colours of a theme; unchanged ones cost nothing."""
        if variables != self._variables:
            super().set_variables(variables)

    def reparse(self) -> None:
        """Parse rules that are not parsed with these colours. Textual parses in a copy, which it discards."""
        self.parse()
