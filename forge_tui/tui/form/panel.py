"""The form on the screen: a title, the list of settings with its editor, and two lines about the selected one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from forge_tui.tui import word_filter
from forge_tui.tui.form.folding import Folding, SettingsSearch, section_of
from forge_tui.tui.form.form_looks import FormLooks
from forge_tui.tui.form.settings_list import SettingsList
from forge_tui.tui.form.settings_pane import SettingsPane, ValueEditor
from forge_tui.tui.form.source import Draft
from forge_tui.tui.offered import READ_ONLY
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.filter_line import FilterLine
from forge_tui.tui.widgets.glyphs import Glyphs
from forge_tui.tui.widgets.line import Line, joined_ends

if TYPE_CHECKING:
    from forge_tui.settings.keys import Key
    from forge_tui.tui.app_interface import AppInterface, ScreenInterface
    from forge_tui.tui.choices import UiChoices
    from forge_tui.tui.form.form_values import Form


_SECTION_KEYS = "Enter opens or folds the section · f all sections · / finds a setting"
_FIND_HINT = "find a setting: words of its name or of what it does (Enter keeps, empty: all)"

_SEVERAL = {
    False: "values separated by commas, a model for each · ",
    True: "a range such as 1e-5..1e-1:log, or values with commas · ",
}
"""What to type for several values: of a sweep, and of a search."""


class FormPanel(Vertical):
    """Shows and edits a draft, or shows a live run's settings read-only.

    It imports the schema (pydantic) only with the form, which a thread makes after the first paint.
    """

    DEFAULT_CSS = """
    FormPanel { height: 1fr; width: 1fr; }
    FormPanel > #form-title { background: $panel; text-style: bold; }
    FormPanel > #form-help { background: $surface; }
    FormPanel > #form-facts { background: $surface; color: $foreground 65%; }
    FormPanel:ansi > #form-facts { color: ansi_default; }
    FormPanel:ansi > #form-title { text-style: bold underline; }
    """

    filter_line: FilterLine

    def __init__(self, draft: Draft, glyphs: Glyphs, choices: UiChoices) -> None:
        super().__init__()
        self.folding = Folding(choices, self.draw)
        self.draft = draft
        self.glyphs = glyphs
        self.starting = False
        self.pane = SettingsPane(glyphs)
        self._run: tuple[str, Form] | None = None
        self._before: Form | None = None
        self._several = False
        self._before_reset: Form | None = None
        self.files = FormLooks(draft, lambda: self._forge.call_in_thread, self.set_timer, self.draw, self._draw_shell)

    def compose(self) -> ComposeResult:
        """Title, settings, and two lines about the selected one."""
        settings = self.pane.settings
        settings.empty_text = "No setting has these words: / changes them, Esc shows all."
        search = SettingsSearch(self.folding, lambda: settings.selected, self.reveal, settings.focus)
        self.filter_line = FilterLine(search, _FIND_HINT, id="filter")
        yield Line(" Settings: reading them…", id="form-title")
        yield self.pane
        yield self.filter_line
        yield Line(id="form-help")
        yield Line(id="form-facts")

    @property
    def form(self) -> Form | None:
        """The displayed form; None while it is being read."""
        return self.draft.form if self._run is None else self._run[1]

    @property
    def read_only(self) -> bool:
        """Whether the settings cannot be changed: a live run's, or any in a read-only view."""
        return self._run is not None or self._forge.surroundings.read_only

    def show_run(self, path: str, form: Form) -> None:
        """Show a live run's settings."""
        self.finish_edit(keep=True)
        self._run = (path, form)
        self.draw()

    def show_draft(self) -> None:
        """Show the settings of the next run."""
        self._run = None
        self.draw()

    def editable(self) -> Form | None:
        """The form if it can be edited now; else None, with the reason in the status line."""
        if self._forge.surroundings.read_only:
            self._forge.tell(READ_ONLY, "warning")
            return None
        if self.read_only:
            self._forge.tell("a live run's settings cannot be changed: n makes new settings from them", "warning")
            return None
        if self.draft.form is None:
            self._forge.tell("the settings are still being read")
        return self.draft.form

    def on_unmount(self) -> None:
        """End a look at the table that is under way."""
        self.files.stop()

    @property
    def _forge(self) -> AppInterface:
        return cast("AppInterface", self.app)

    # Drawing

    def _draw_shell(self) -> None:
        cast("ScreenInterface", self.screen).draw_shell()

    def draw(self) -> None:
        """Draw the form with the resource rules' verdict."""
        form = self.form
        if form is None or not self.is_mounted:
            return
        from forge_tui.tui.form.lines import items

        errors = {**self.draft.refusals, **form.errors()}
        table = self.files.known(form)
        detected, steers = self._forge.machine.detected, not self._forge.surroundings.read_only
        rows = items(form, errors, detected, self.glyphs, self.read_only, table, steers, self.folding)
        self.pane.settings.show(rows)
        self._draw_title(form, len(errors))
        self._draw_help()

    def _draw_title(self, form: Form, wrong: int) -> None:
        looks_only = self._forge.surroundings.read_only
        if self._run is not None:
            left = f" Settings of {cells.clean(Path(self._run[0]).name)}, live: read only"
            right = "" if looks_only else "n new settings from these "
        elif looks_only:
            left, right = " Settings of the next run: read only", ""
        else:
            left = " Starting…" if self.starting else " Settings of the next run"
            remembered, changed = form.from_last_time, len(form.changed())
            if remembered and not self.starting:
                left = f" {remembered} setting{'s' * (remembered > 1)} as last time: U puts all defaults back"
            right = (
                f"{changed} {'differs' if changed == 1 else 'differ'} from the defaults "
                if changed
                else "all defaults "
            )
            right = f"{wrong} to fix, {right}" if wrong else right
        if self.folding.filter_text:
            left = f" {cells.clean(word_filter.summary(self.folding.filter_text, self.folding.by_letters))}"
        title = self.query_one("#form-title", Line)
        title.show(joined_ends(Text(left), Text(right, style="not bold"), max(20, title.size.width)))

    def _draw_help(self) -> None:
        form, key = self.form, self.selected_key()
        if form is None or self.pane.settings.selected is None:
            return
        from forge_tui.tui.form.lines import about, about_section

        section = self.selected_section()
        if section is not None:
            words, facts = about_section(form, section), _SECTION_KEYS
        else:
            words, facts = about(form, key, self.read_only)
        if self.pane.is_open:
            step = "←→ change · " if self.pane.editor.stepping else ""
            several = _SEVERAL[form.searches] if self._several else ""
            words = f"{step}{several}Enter keeps · Esc puts back · {words}"
        self.query_one("#form-help", Line).show(" " + cells.clean(words, self.glyphs.ascii))
        self.query_one("#form-facts", Line).show(" " + cells.clean(facts, self.glyphs.ascii))

    def on_resize(self) -> None:
        """Align the title's two ends to the edges."""
        self.call_after_refresh(self.draw)

    def on_virtual_list_selected(self) -> None:
        """Describe the selected setting."""
        self._draw_help()

    def on_virtual_list_opened(self) -> None:
        """Open the setting or its section, with the mouse."""
        self.open_selected()

    def selected_section(self) -> str | None:
        """The section whose row is selected."""
        return section_of(self.pane.settings.selected)

    def reveal(self, name: str) -> None:
        """Select a setting; one that is folded, or that a search leaves out, is listed first."""
        settings, form = self.pane.settings, self.form
        if settings.select(name) or form is None:
            return
        self.folding.search("")
        for section in form.sections():
            if any(key.key == name for key in section.keys):
                self.folding.uncover(section.title)
        settings.select(name)

    def selected_key(self) -> Key | None:
        """The selected setting; None for what is trained, which is no setting."""
        name = self.pane.settings.selected
        if name is None:
            return None
        from forge_tui.settings.schema import key_named

        return key_named(name)

    # Changing

    def change(self, form: Form) -> None:
        """Set a changed form; check its dataset and its function if they have changed.

        Refusals of changed values are removed. A locked setting stays as it is, with the reason in the status line.
        """
        if form.refused:
            from dataclasses import replace

            self._forge.tell(form.refusal, "error")
            form = replace(form, refused=())
        before, self.draft.form = self.draft.form, form
        from forge_tui.settings.training_function import TRAIN
        from forge_tui.tui.form.fields import DATASET

        if before is not None:
            for name, value in form.values.items():
                if value is not before.values.get(name):
                    self.draft.refusals.pop(name, None)
            if form.values[DATASET] != before.values[DATASET]:
                self.files.look_at_dataset()
            if form.values[TRAIN] != before.values[TRAIN]:
                self.files.look_at_function()
            self.files.look_at_table(before, form)
        self.draw()
        self._draw_shell()  # the sidebar's suggestion goes by the form

    def open_selected(self) -> None:
        """Open the selected setting: switch it, choose the next word, pick a file or column, or edit the value.

        A section is opened or folded, in a read-only form too.
        """
        section = self.selected_section()
        if section is not None:
            self.folding.toggle(section)
            return
        form, key = self.editable(), self.selected_key()
        if form is None or self.pane.is_open:
            return
        from forge_tui.tui.form import pickers

        if key is None:
            self.app.push_screen(pickers.kind_picker(form.kind), self._train)
            return
        from forge_tui.tui.form.fields import DATASET, TARGET, WORKERS, is_choice, takes_more_than_words

        if self._is_locked(form, key.key):
            return
        found = form.dataset_found
        if form.swept(key.key) is not None:
            self.open_values()
        elif key.is_switch or is_choice(key):
            self.change(form.step(key.key, 1))
        elif key.key == DATASET:
            self.app.push_screen(pickers.dataset_picker(str(form.values[DATASET])), self._picked_dataset)
        elif pickers.picks_function(form.kind, key.key):
            pickers.pick_function(self._forge, form, key.key, partial(self._put, key.key))
        elif key.key == TARGET and found is not None and found.columns:
            self.app.push_screen(pickers.target_picker(found, form.values[TARGET]), partial(self._put, TARGET))
        else:
            self._before = form
            by_digits = "number" in key.type_words
            stepping = key.key == WORKERS or takes_more_than_words(key)
            self.pane.open_editor(form.typed(key.key), stepping=stepping, replace=by_digits)
            self._draw_help()

    def open_values(self) -> None:
        """Edit the selected setting's values: a sweep, with a model for each; with a search also a range."""
        form, key = self.editable(), self.selected_key()
        if form is None or key is None or self.pane.is_open:
            return
        from forge_tui.errors import SettingsError
        from forge_tui.settings.sweep import TABLE as SWEEP

        try:
            form.edit_values(key.key, form.typed_values(key.key))
        except SettingsError as error:
            self._forge.tell(str(error), "warning")
            return
        if self._is_locked(form, f"{SWEEP}.{key.key}"):
            return
        self._before, self._several = form, True
        self.pane.open_editor(form.typed_values(key.key), stepping=False, replace=False)
        self._draw_help()

    def _edited(self, form: Form, name: str, text: str) -> Form:
        if not self._several:
            return form.edit(name, text)
        # While several are typed the text is one value for a moment, which must not stay.
        before = self._before
        if before is not None and name in before.values:
            form = form.with_values({name: before.values[name]}, {name: before.sources[name]})
        return form.edit_values(name, text)

    def _train(self, kind: str | None) -> None:
        """Set what is trained; None keeps it."""
        if kind is not None and self.draft.form is not None:
            from forge_tui.tui.form.kinds import Kind

            self.change(self.draft.form.train(Kind(kind)))

    def _put(self, name: str, value: str | None) -> None:
        """Set a dialog's answer; None keeps the value."""
        if value is not None and self.draft.form is not None:
            self.change(self.draft.form.put(name, value))

    def _picked_dataset(self, name: str | None) -> None:
        from forge_tui.tui.form.fields import DATASET

        self._put(DATASET, name)
        if name is not None and self.draft.form is not None and self.draft.form.has_columns:
            self._forge.tell(f"{cells.clean(Path(name).name)}: c shows its columns")

    def step(self, by: int) -> None:
        """Change the selected value to the next (1) or previous (-1)."""
        section = self.selected_section()
        if section is not None:
            self.folding.set_open(section, by > 0)
            return
        form, key = self.editable(), self.selected_key()
        if form is None:
            return
        if key is None:
            self.change(form.step_kind(by))
            return
        if self._is_locked(form, key.key):
            return
        if form.swept(key.key) is not None:
            verb = "searched" if form.searches else "swept"
            self._forge.tell(f"it is {verb}: Enter edits its values, u restores the default")
            return
        stepped = form.step(key.key, by)
        self.change(stepped)
        if self.pane.is_open:
            self.pane.put_text(stepped.typed(key.key))

    def reset_selected(self) -> None:
        """Restore the selected setting's default."""
        form, key = self.editable(), self.selected_key()
        if form is not None and key is not None and not self._is_locked(form, key.key):
            self.change(form.reset(key.key))

    def _is_locked(self, form: Form, name: str) -> bool:
        """Whether the site-wide settings lock a setting; the reason is in the status line then."""
        from forge_tui.tui.form.fields import title_of

        lock = form.site.lock_of(name)
        if lock is not None:
            self._forge.tell(f"{title_of(name)}: locked by {lock.place}, for all users", "error")
        return lock is not None

    def reset_all(self) -> bool:
        """Restore all defaults (True); if they are set already, undo the last reset (False)."""
        self.finish_edit(keep=True)
        form = self.editable()
        if form is None:
            return False
        plain = form.reset_all()
        before = self._before_reset
        if (form.plain(), form.kind) != (plain.plain(), plain.kind):
            self._before_reset = form
            self.change(plain)
            self._forge.tell("all settings are at their defaults; U again undoes this")
            return True
        if before is not None:
            self._before_reset = None
            self.change(before)
            self._forge.tell("the settings are as they were before U")
        else:
            self._forge.tell("all settings are at their defaults")
        return False

    def finish_edit(self, *, keep: bool) -> None:
        """Close the editor if it is open; keep the typed value, or restore the old one."""
        name, text = self.pane.settings.selected, self.pane.close_editor()
        before, self._before = self._before, None
        if text is not None and self.draft.form is not None and name is not None:
            self.change(self._edited(self.draft.form, name, text) if keep or before is None else before)
        self._several = False

    def leave_editor(self) -> SettingsList:
        """Close the editor and keep the typed value; returns the list of settings."""
        self.finish_edit(keep=True)
        return self.pane.settings

    def on_input_changed(self, event: Input.Changed) -> None:
        """Update error and verdict with every typed character."""
        name = self.pane.settings.selected
        if event.input is self.pane.editor and self.pane.is_open and self.draft.form is not None and name is not None:
            self.change(self._edited(self.draft.form, name, event.input.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter closes the editor."""
        event.stop()
        self.finish_edit(keep=True)

    def on_value_editor_put_back(self, _: ValueEditor.PutBack) -> None:
        """Esc closes the editor and restores the old value."""
        self.finish_edit(keep=False)

    def on_settings_pane_left(self, _: SettingsPane.Left) -> None:
        """A click elsewhere closes the editor."""
        self.finish_edit(keep=True)

    def on_value_editor_stepped(self, event: ValueEditor.Stepped) -> None:
        """Left and right in the editor of the workers."""
        self.step(event.by)
