"""The app's stylesheet: what was parsed is kept, so that the first paint does not wait for parsing it three times."""

from __future__ import annotations

from textual.css.stylesheet import Stylesheet


class KeptStylesheet(Stylesheet):
    """Textual parses everything anew when a theme is set, twice, and once at every start (5 ms each at ours)."""

    def set_variables(self, variables: dict[str, str]) -> None:
        """Take the colours of a theme; the same ones again cost nothing."""
        if variables != self._variables:
            super().set_variables(variables)

    def reparse(self) -> None:
        """Parse what is not parsed with these colours. Textual does it in a copy, which it throws away."""
        self.parse()
