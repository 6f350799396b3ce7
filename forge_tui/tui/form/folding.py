"""Which settings the form lists: the most used ones always; the others by section, open or folded, or by a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from forge_tui.tui import word_filter

if TYPE_CHECKING:
    from forge_tui.settings.keys import Key
    from forge_tui.tui.choices import UiChoices
    from forge_tui.tui.form.fields import Section
    from forge_tui.tui.form.form_values import Form

_CHOICE = "open_sections"
_ROW = "section "


def row_of(section: str) -> str:
    """The name of the row of a section, which is no setting."""
    return f"{_ROW}{section}"


def section_of(row: str | None) -> str | None:
    """The section whose row it is; None for another row."""
    return None if row is None or not row.startswith(_ROW) else row.removeprefix(_ROW)


class Folding:
    """The sections that are open, kept among the UI's choices, and the words of a search.

    A folded section still shows settings that differ from their defaults or are wrong: nothing that matters for the run
    is out of sight. A search shows what it finds in every section.
    """

    def __init__(self, choices: UiChoices, changed: Callable[[], None]) -> None:
        """`changed` is called when other settings are to be listed."""
        self._choices, self._changed = choices, changed
        self._open = {title for title in choices.get(_CHOICE, []) if isinstance(title, str)}
        self.filter_text = ""
        self.by_letters = False
        """Whether a word of the search was found by its letters only."""
        self.best: str | None = None
        """The setting that a search finds first: by its title, or else the first one listed."""

    def is_open(self, section: Section) -> bool:
        """Whether all settings of a section are listed; those without a row of their own always are."""
        return not section.folds or section.title in self._open

    def toggle(self, title: str) -> None:
        """Open a section, or fold it."""
        self._put(self._open ^ {title})

    def set_open(self, title: str, is_open: bool) -> None:
        """Open a section, or fold it."""
        self._put(self._open | {title} if is_open else self._open - {title})

    def toggle_all(self, sections: Sequence[Section]) -> None:
        """Open all sections; fold all if they are open."""
        titles = {section.title for section in sections if section.folds}
        self._put(self._open - titles if titles <= self._open else self._open | titles)

    def uncover(self, title: str) -> None:
        """Open a section until the screen is closed: it is no choice of the user's."""
        if title not in self._open:
            self._open = self._open | {title}
            self._changed()

    def _put(self, titles: set[str]) -> None:
        if titles != self._open:
            self._open = titles
            self._choices.put(_CHOICE, sorted(titles))
            self._changed()

    def search(self, text: str) -> None:
        """List only settings that match `text` (`word_filter.find`); empty ends the search."""
        self.filter_text = text
        self._changed()

    def listed(self, form: Form, problems: Sequence[str]) -> list[tuple[Section, tuple[Key, ...]]]:
        """The sections with those of their settings that are listed; without sections in which nothing is found.

        `problems` are the names of settings that are wrong.
        """
        sections = form.sections()
        if self.filter_text:
            return self._found(sections)
        self.by_letters = False
        return [
            (
                section,
                section.keys
                if self.is_open(section)
                else tuple(key for key in section.keys if key.key in problems or form.differs(key)),
            )
            for section in sections
        ]

    def _found(self, sections: Sequence[Section]) -> list[tuple[Section, tuple[Key, ...]]]:
        from forge_tui.tui.form.fields import title_of  # imports the schema, which the first paint does not wait for

        def has(key: Key, word: str) -> bool:
            return word in f"{title_of(key.key)} {key.key} {key.flag} {key.help}".casefold()

        keys = [key for section in sections for key in section.keys]
        found = word_filter.find(self.filter_text, keys, has, lambda key: f"{title_of(key.key)} {key.name}")
        self.by_letters = found.by_letters
        names = dict.fromkeys(keys[place].key for place in found.places)
        words = [word for word in self.filter_text.casefold().split() if not word.startswith("!")]
        titled = [name for name in names if all(word in title_of(name).casefold() for word in words)]
        self.best = next(iter(titled or names), None)
        listed = [(section, tuple(key for key in section.keys if key.key in names)) for section in sections]
        return [(section, keys) for section, keys in listed if keys]


class SettingsSearch:
    """The search as a filter line uses it. Ending it opens the section of the selected setting, which stays in view."""

    def __init__(
        self,
        folding: Folding,
        selected: Callable[[], str | None],
        reveal: Callable[[str], None],
        focus: Callable[[], object],
    ) -> None:
        """`selected`: the name of the selected row; `reveal` selects a setting; `focus`: the list's."""
        self._folding, self._selected, self._reveal, self._focus = folding, selected, reveal, focus
        self._last: str | None = None

    @property
    def filter_text(self) -> str:
        """The words of the search."""
        return self._folding.filter_text

    def set_filter(self, text: str) -> None:
        """Search, or end the search."""
        if text:
            self._last = None
        elif self._folding.filter_text:
            self._last = self._selected()
        self._folding.search(text)
        if text and self._folding.best is not None:
            self._reveal(self._folding.best)

    def focus(self) -> None:
        """Give the keyboard back to the list; after a search, with what it had selected."""
        self._focus()
        name, self._last = self._last, None
        if name is not None:
            self._reveal(name)
