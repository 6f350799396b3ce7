"""A dialog to choose a file with the keyboard alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from forge_tui.text.figures import memory
from forge_tui.tui.dialogs.directory import Entry, Listing, list_directory, shortest
from forge_tui.tui.widgets import cells

if TYPE_CHECKING:
    from forge_tui.tui.app_interface import AppInterface

_NAME_CELLS = 44
_KEYS = "Enter open · Backspace up · / type a path · . hidden files · Esc back"


class FilePicker(ModalScreen[str | None]):
    """Returns a path (relative if below the working directory) or one of `words`; None for no choice.

    `words` are other choices on top of the list: (value, label).
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "move(1)", "Down", show=False),
        Binding("k", "move(-1)", "Up", show=False),
        Binding("g", "to_end(False)", "First", show=False),
        Binding("G", "to_end(True)", "Last", show=False),
        Binding("backspace,left,h", "up", "Up a directory", show=False),
        Binding("right,l", "open", "Open", show=False),
        Binding("full_stop", "hidden", "Hidden files", show=False),
        Binding("slash", "type_path", "Type a path", show=False),
        Binding("escape,q", "back", "Back", show=False),
    ]
    DEFAULT_CSS = """
    FilePicker { align: center middle; }
    FilePicker > Vertical {
        width: 90%; max-width: 96; height: 90%; max-height: 40; padding: 0 1;
        border: round $primary; background: $surface;
    }
    FilePicker Label { width: 100%; height: auto; }
    FilePicker #picker-path { text-style: bold; height: 1; }
    FilePicker #picker-hint { color: $foreground 60%; }
    FilePicker OptionList {
        height: 1fr; border: none; padding: 0; background: $surface;
        scrollbar-size-vertical: 1; text-wrap: nowrap; text-overflow: ellipsis;
    }
    FilePicker OptionList:focus { border: none; }
    FilePicker Input { display: none; }
    """

    def __init__(
        self,
        title: str,
        start: Path,
        working_directory: Path,
        endings: Sequence[str],
        words: Sequence[tuple[str, str]] = (),
    ) -> None:
        """`start` is the directory shown first, or the file selected first."""
        super().__init__()
        self._title, self._working_directory = title, working_directory
        self._endings, self._words = tuple(endings), tuple(words)
        self._directory, self._wanted = start.parent, start.name
        self._hidden = False
        self._values: list[str | Entry | None] = []

    def compose(self) -> ComposeResult:
        """Title, directory, list and keys."""
        with Vertical():
            yield Label(Content(self._title))
            yield Label("", id="picker-path")
            yield Input(placeholder="a path; Enter takes it", compact=True)
            yield OptionList(markup=False)
            yield Label(Content(_KEYS), id="picker-hint")

    def on_mount(self) -> None:
        """Show the first directory."""
        self.query_one(OptionList).focus()
        self._go(self._directory, self._wanted)

    def _go(self, path: Path, select: str | None = None) -> None:
        """Show a directory, read in a thread: it may be on a slow or dead network file system."""
        self._wanted = select or ""
        read = partial(list_directory, path, self._endings, self._hidden)
        cast("AppInterface", self.app).call_in_thread(read, then=self._listed, subject="files")

    def _listed(self, listing: Listing | BaseException) -> None:
        if isinstance(listing, BaseException) or not self.is_mounted:
            return
        if listing.problem is not None:
            self.query_one("#picker-hint", Label).update(
                Content(f"! {cells.clean(f'{listing.path}: {listing.problem}')}\n{_KEYS}")
            )
            return
        self._directory = listing.path
        self.query_one("#picker-hint", Label).update(Content(_KEYS))
        path = cells.middle(cells.clean(str(listing.path)), max(20, self.size.width * 9 // 10 - 6))
        self.query_one("#picker-path", Label).update(Content(path.rstrip()))
        self._fill(listing)

    def _fill(self, listing: Listing) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        self._values = [value for value, _ in self._words]
        lines = [f"{value}  {detail}" for value, detail in self._words]
        if listing.path.parent != listing.path:
            self._values.append(Entry("..", True))
            lines.append("../")
        for entry in listing.entries:
            self._values.append(entry)
            name = cells.clean(entry.name)
            lines.append(
                f"{name}/" if entry.is_directory else f"{cells.middle(name, _NAME_CELLS)}  {memory(entry.size)}"
            )
        options.add_options([Option(Content(line)) for line in lines])
        if not any(not entry.is_directory for entry in listing.entries):
            options.add_option(Option(f"no file here that ends in {', '.join(self._endings)}", disabled=True))
        if listing.left_out:
            options.add_option(Option(f"… {listing.left_out} more entries: type the path (/)", disabled=True))
        names = [value.name if isinstance(value, Entry) else value for value in self._values]
        options.highlighted = names.index(self._wanted) if self._wanted in names else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter a directory, or choose a file."""
        self._take(event.option_index)

    def _take(self, place: int) -> None:
        match self._values[place]:
            case Entry(name="..") | None:
                self.action_up()
            case Entry(name=name, is_directory=True):
                self._go(self._directory / name)
            case Entry(name=name):
                self.dismiss(shortest(self._directory / name, self._working_directory))
            case word:
                self.dismiss(word)

    def action_to_end(self, last: bool) -> None:
        """Select the first or the last entry."""
        options = self.query_one(OptionList)
        options.action_last() if last else options.action_first()

    def action_move(self, by: int) -> None:
        """Select the next or the previous entry."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if by > 0 else options.action_cursor_up)()

    def action_open(self) -> None:
        """Enter the selected directory, or choose the file."""
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self._values):
            self._take(place)

    def action_up(self) -> None:
        """Show the parent directory, with this one selected."""
        self._go(self._directory.parent, self._directory.name)

    def action_hidden(self) -> None:
        """Show hidden entries, or leave them out."""
        self._hidden = not self._hidden
        self._go(self._directory)

    def action_type_path(self) -> None:
        """Type a path."""
        field = self.query_one(Input)
        field.value = shortest(self._directory, self._working_directory).removesuffix(".")
        field.value += "/" if field.value and not field.value.endswith("/") else ""
        field.display = True
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Use the typed path; a directory is shown, an empty line returns to the list."""
        text = event.value.strip()
        self.query_one(Input).display = False
        self.query_one(OptionList).focus()
        if not text:
            return
        path = self._working_directory / Path(text).expanduser()
        if text.endswith("/"):
            self._go(Path(path))
        else:
            self.dismiss(text)

    def action_back(self) -> None:
        """Choose nothing; while typing a path, return to the list."""
        if self.query_one(Input).has_focus:
            self.query_one(Input).display = False
            self.query_one(OptionList).focus()
        else:
            self.dismiss(None)
