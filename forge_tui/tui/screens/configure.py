"""Configure: the settings of the next run; of a live run, its own, to read."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, Static

from forge_tui.errors import ForgeError
from forge_tui.tui.form_source import Filled, FormSource
from forge_tui.tui.glyphs import UNICODE, Glyphs
from forge_tui.tui.screens import configure_dialogs as dialogs
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.settings_list import SettingsList
from forge_tui.tui.widgets.settings_pane import SettingsPane, ValueEditor

if TYPE_CHECKING:
    from forge_tui.progress.snapshot import Snapshot
    from forge_tui.settings.keys import Key
    from forge_tui.tui.form import Form
    from forge_tui.tui.messages import StartRefused

_LAST_FORM = "form"
_OVERWRITE = "--overwrite"


class ConfigureScreen(Screen[None]):
    """The form, one editor at a time.

    The schema (pydantic) is read in a thread after the first paint. While the run that is watched is live, its
    settings are shown and cannot be changed; `n` makes new ones from them.
    """

    name_of_screen = "configure"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "start", "Start"),
        Binding("enter,space", "open_setting", "Edit"),
        Binding("ctrl+o", "load_preset", "Load"),
        Binding("ctrl+s", "save_preset", "Save"),
        Binding("Y", "show_command", "Command"),
        Binding("n", "new", "New"),
        Binding("left", "less", "Less", show=False),
        Binding("right", "more", "More", show=False),
        Binding("u,delete", "reset_setting", "Default", show=False),
        Binding("up,k", "up", "Up", show=False),
        Binding("down,j", "down", "Down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
        Binding("home,g", "first", "First", show=False),
        Binding("end,G", "last", "Last", show=False),
    ]
    DEFAULT_CSS = """
    ConfigureScreen #configure-body { height: 1fr; width: 1fr; }
    ConfigureScreen #configure-title { height: 1; background: $boost; text-style: bold; }
    ConfigureScreen #configure-about { height: 2; color: $foreground 75%; background: $boost; }
    ConfigureScreen #configure-about:ansi { color: ansi_default; background: ansi_default; }
    ConfigureScreen #configure-title:ansi { color: ansi_default; background: ansi_default; text-style: bold underline; }
    """

    def __init__(self, source: FormSource | None = None) -> None:
        super().__init__()
        self._source = source or FormSource()
        self._form: Form | None = None
        self._run_form: Form | None = None
        self._run_name: str | None = None
        self._before: Form | None = None
        self._problem: str | None = None
        self._refusals: dict[str, str] = {}
        self._starting = False

    def compose(self) -> ComposeResult:
        """The body."""
        yield from self.compose_body()

    def compose_body(self) -> ComposeResult:
        """A title, the settings, and two lines on the selected one."""
        with Vertical(id="configure-body"):
            yield Static(Content(" Settings: reading them…"), id="configure-title")
            yield SettingsPane(self.glyphs, id="configure-settings")
            yield Static("", id="configure-about")

    def on_mount(self) -> None:
        """Fill the form, in a thread."""
        self.pane.settings.focus()
        from forge_tui.tui.form_source import fill

        self._in_thread(fill, self._source, self._app.choices.get(_LAST_FORM, {}), then=self._filled)

    @property
    def glyphs(self) -> Glyphs:
        """The characters to draw with."""
        return getattr(self.app, "glyphs", UNICODE)

    @property
    def pane(self) -> SettingsPane:
        """The list and its editor."""
        return self.query_one(SettingsPane)

    @property
    def form(self) -> Form | None:
        """The form that is shown; None while it is being read."""
        return self._form if self._run_form is None else self._run_form

    @property
    def read_only(self) -> bool:
        """Whether a live run's settings are shown."""
        return self._run_form is not None

    @property
    def _app(self) -> Any:
        return self.app

    def _in_thread(self, function: Callable[..., Any], *arguments: Any, then: Callable[[Any], None]) -> None:
        self._app.call_in_thread(function, *arguments, then=then)

    def _tell(self, message: str, severity: str = "information") -> None:
        self._app.tell(message, severity=severity)

    # What comes from outside

    def _filled(self, filled: Filled | BaseException) -> None:
        if isinstance(filled, BaseException):
            self._problem = str(filled)
            self._tell(f"the settings cannot be read: {filled}", "error")
            return
        self._form, self._problem = filled.form, filled.problem
        if filled.problem is not None:
            self._tell(_one_line(filled.problem), "error")
        self._look_at_dataset()
        self._repaint()
        self.show(self._app.snapshot)

    def show(self, snapshot: Snapshot | None) -> None:
        """Show a live run's settings, once for each run; an ended run gives the form back."""
        if self._form is None:
            return
        if snapshot is None or not snapshot.state.is_live:
            if self._run_form is not None:
                self._run_form = None
                self._repaint()
            self._run_name = None
            return
        if snapshot.run.path == self._run_name:
            return
        self._run_name, self._starting = snapshot.run.path, False
        self._finish_edit(keep=True)
        from forge_tui.tui.form_source import run_form

        def arrived(form: Form | BaseException, path: str = snapshot.run.path) -> None:
            if isinstance(form, BaseException):
                self._tell(f"the run's settings cannot be read: {_one_line(str(form))}", "error")
            elif self._run_name == path:
                self._run_form = form
                self._repaint()

        self._in_thread(run_form, Path(snapshot.run.path) / "settings.toml", self._form, then=arrived)

    def show_resources(self, sample: Any = None) -> None:
        """The machine changed: so may the verdict on the workers."""
        self._repaint()

    def on_screen_resume(self) -> None:
        """Back on this screen: files may have changed meanwhile."""
        self._starting = False
        if self._form is not None:
            self._look_at_dataset()
            self._repaint()

    def on_start_refused(self, refused: StartRefused) -> None:
        """The runner will not begin: say why, beside the setting that its words name if there is one."""
        self._starting = False
        reason = _one_line(refused.reason)
        self._tell(f"not started: {reason}", "error")
        self._repaint()
        if self._form is None:
            return
        if _OVERWRITE in refused.reason:
            self.app.push_screen(dialogs.earlier_run(reason), self._overwrite)
            return
        words = set(shlex.split(reason.replace("'", " ").replace('"', " ").replace(":", " ")))
        from forge_tui.settings.schema import fields_of

        named = next((key.key for key in fields_of() if key.flag in words), None)
        if named is not None:
            self._refusals[named] = reason
            self._repaint()
            self.pane.settings.select(named)

    # Drawing

    def _repaint(self) -> None:
        """Show the form as it is now."""
        form = self.form
        if form is None or not self.is_mounted:
            return
        from forge_tui.tui.form_view import items

        errors = {**self._refusals, **form.errors()}
        resources = self._app.detected
        self.pane.settings.show(items(form, errors, resources, self.glyphs, self.read_only))
        self._paint_title(form, errors)
        self._paint_about()

    def _paint_title(self, form: Form, errors: dict[str, str]) -> None:
        if self.read_only:
            name = cells.clean(Path(self._run_name or "").name)
            left, right = f" Settings of {name}: live, so read only", "n new settings from these "
        else:
            changed, wrong = len(form.changed()), len(errors)
            left = " Settings of the next run" if not self._starting else " Starting…"
            right = f"{changed} differ{'s' if changed == 1 else ''} from the defaults " if changed else "all defaults "
            if wrong:
                right = f"{wrong} to mend, {right}"
        width = self.query_one("#configure-title").size.width or self.size.width
        line = left + " " * max(1, width - cells.width_of(left) - len(right)) + right
        self.query_one("#configure-title", Static).update(Content(cells.left(line, width)), layout=False)

    def _paint_about(self) -> None:
        form, key = self.form, self._selected_key()
        if form is None or key is None:
            return
        from forge_tui.tui.form_view import about

        first, second = about(form, key, self.read_only)
        if self.pane.is_open:
            steps = "←→ change · " if self.pane.editor.stepping else ""
            first = f"{first} ({steps}Enter keeps, Esc puts back)"
        width = max(10, self.query_one("#configure-about").size.width - 2)
        lines = [" " + cells.left(cells.clean(line), width, self.glyphs.ellipsis) for line in (first, second)]
        self.query_one("#configure-about", Static).update(Content("\n".join(lines)), layout=False)

    def on_resize(self) -> None:
        """The title and the lines below are cut to the width."""
        self.call_after_refresh(self._repaint)

    def on_settings_list_selected(self) -> None:
        """Say what the selected setting is for."""
        self._paint_about()

    def on_settings_list_opened(self) -> None:
        """Opened with the mouse."""
        self.action_open_setting()

    def _selected_key(self) -> Key | None:
        name = self.pane.settings.selected
        if name is None:
            return None
        from forge_tui.settings.schema import keys_by_name

        return keys_by_name()[name]

    # Changing a value

    def _editable(self) -> Form | None:
        """The form if it can be changed now; says why not otherwise."""
        if self.read_only:
            self._tell("these are a live run's settings: n makes new settings from them", "warning")
            return None
        if self._form is None:
            self._tell(self._problem or "the settings are still being read")
        return self._form

    def _change(self, form: Form) -> None:
        """Take a changed form; look at its dataset if that is another."""
        before, self._form = self._form, form
        from forge_tui.tui.form import DATASET

        if before is not None and form is not before:
            changed = [name for name, value in form.values.items() if value is not before.values[name]]
            for name in changed:
                self._refusals.pop(name, None)
            if form.values[DATASET] != before.values[DATASET]:
                self._look_at_dataset()
        self._repaint()

    def _look_at_dataset(self) -> None:
        """See whether the dataset is there and which columns it has, in a thread."""
        if self._form is None:
            return
        from forge_tui.tui.dataset_file import DatasetFile, examine
        from forge_tui.tui.form import DATASET

        def found(dataset: DatasetFile | BaseException) -> None:
            if isinstance(dataset, DatasetFile) and self._form is not None:
                self._form = self._form.with_dataset(dataset)
                self._repaint()

        self._in_thread(examine, str(self._form.values[DATASET]), Path.cwd(), then=found)

    def action_open_setting(self) -> None:
        """Open the selected setting: switch it, choose the next word, pick a file or column, or edit the value."""
        form, key = self._editable(), self._selected_key()
        if form is None or key is None or self.pane.is_open:
            return
        from forge_tui.tui.form import DATASET, TARGET, WORKERS, is_choice

        found = form.dataset_found
        if key.is_switch or is_choice(key):
            self._change(form.step(key.key, 1))
        elif key.key == DATASET:
            self.app.push_screen(dialogs.dataset_picker(str(form.values[DATASET])), self._put_if(DATASET))
        elif key.key == TARGET and found is not None and found.columns:
            self.app.push_screen(dialogs.target_picker(found, form.values[TARGET]), self._put_if(TARGET))
        else:
            self._before = form
            self.pane.open_editor(form.typed(key.key), stepping=key.key == WORKERS)
            self._paint_about()

    def _put_if(self, name: str) -> Callable[[str | None], None]:
        """What to do with a dialog's answer: put it into a setting, unless it is None."""

        def put(value: str | None) -> None:
            if value is not None and self._form is not None:
                self._change(self._form.put(name, value or None))

        return put

    def on_input_changed(self, event: Input.Changed) -> None:
        """Every character typed counts at once: error and verdict follow it."""
        if event.input is self.pane.editor and self.pane.is_open and self._form is not None:
            name = self.pane.settings.selected
            if name is not None:
                self._change(self._form.edit(name, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter closes the editor."""
        event.stop()
        self._finish_edit(keep=True)

    def on_value_editor_put_back(self, _: ValueEditor.PutBack) -> None:
        """Esc closes the editor, and the value is what it was."""
        self._finish_edit(keep=False)

    def on_settings_pane_left(self, _: SettingsPane.Left) -> None:
        """A click elsewhere closes the editor."""
        self._finish_edit(keep=True)

    def on_value_editor_stepped(self, event: ValueEditor.Stepped) -> None:
        """Left and right in the editor of the workers."""
        self._step(event.by)

    def _finish_edit(self, *, keep: bool) -> None:
        """Close the editor if it is open."""
        name, text = self.pane.settings.selected, self.pane.close_editor()
        before, self._before = self._before, None
        if text is None or self._form is None or name is None:
            return
        self._change(self._form.edit(name, text) if keep else before or self._form)

    def _step(self, by: int) -> None:
        form, key = self._editable(), self._selected_key()
        if form is None or key is None:
            return
        self._change(form.step(key.key, by))
        if self.pane.is_open and self._form is not None:
            self.pane.put_text(self._form.typed(key.key))

    def action_less(self) -> None:
        """The previous word or the next smaller number."""
        self._step(-1)

    def action_more(self) -> None:
        """The next word or the next larger number."""
        self._step(1)

    def action_reset_setting(self) -> None:
        """Put the setting's default back."""
        form, key = self._editable(), self._selected_key()
        if form is not None and key is not None:
            self._change(form.reset(key.key))

    # Moving

    def _move(self, move: Callable[[SettingsList], None]) -> None:
        self._finish_edit(keep=True)
        move(self.pane.settings)

    def action_up(self) -> None:
        """One setting up."""
        self._move(lambda settings: settings.move(-1))

    def action_down(self) -> None:
        """One setting down."""
        self._move(lambda settings: settings.move(1))

    def action_page_up(self) -> None:
        """A page up."""
        self._move(lambda settings: settings.page(-1))

    def action_page_down(self) -> None:
        """A page down."""
        self._move(lambda settings: settings.page(1))

    def action_first(self) -> None:
        """To the first setting."""
        self._move(lambda settings: settings.move(-(10**6)))

    def action_last(self) -> None:
        """To the last setting."""
        self._move(lambda settings: settings.move(10**6))

    # The form as a whole

    def action_start(self) -> None:
        """Start a run with these settings, or say why not."""
        self._start("refuse")

    def _overwrite(self, answer: str | None) -> None:
        if answer == dialogs.MOVE:
            self._start("move")

    def _start(self, previous: str) -> None:
        self._finish_edit(keep=True)
        form = self._editable()
        if form is None:
            return
        if self._starting:
            self._tell("the run is starting")
            return
        if self._problem is not None:
            self._tell(f"not started: {_one_line(self._problem)}. Mend it and open forge-tui again", "error")
            return
        errors = form.errors()
        if errors:
            from forge_tui.tui.form import title_of

            told = [f"{title_of(name)} {_one_line(problem)}" for name, problem in errors.items()]
            self._tell(f"not started: {'; '.join(told)}", "error")
            self.pane.settings.select(next(iter(errors)))
            return
        self._starting = True
        self._refusals.clear()
        self._app.choices.put(_LAST_FORM, form.set_here())
        self._repaint()
        self._app.start_run(form.settings(), previous=previous)

    def action_new(self) -> None:
        """New settings from those that are shown, or from the run that was watched last."""
        self._finish_edit(keep=True)
        form = self.form
        if form is None:
            return
        self._run_form = None
        self._form = form.for_a_new_run()
        self._refusals.clear()
        self._look_at_dataset()
        self._repaint()
        self._tell("new settings from these: Ctrl+R starts them")

    def action_show_command(self) -> None:
        """Show the command that starts the same run without the screen."""
        form = self.form
        if form is None:
            return
        from forge_tui.tui.command_line import command
        from forge_tui.tui.screens.command import CommandScreen

        self.app.push_screen(CommandScreen(command(form)))

    def action_load_preset(self) -> None:
        """Choose a preset or a settings file, and put its values into the form."""
        if self._editable() is None:
            return
        from forge_tui.tui.form_source import presets

        self._finish_edit(keep=True)
        self._in_thread(presets, then=lambda found: dialogs.load(self, found, self._load))

    def _load(self, path: Path, preset: str | None) -> None:
        if self._form is None:
            return
        from forge_tui.tui.form_source import load_file

        before = self._form

        def loaded(form: Form | BaseException) -> None:
            if isinstance(form, ForgeError | OSError):
                self._tell(f"not loaded: {_one_line(str(form))}", "error")
            elif isinstance(form, BaseException):
                raise form
            else:
                self._change(form)
                changed = sum(form.values[name] != value for name, value in before.values.items())
                self._tell(f"{preset or path.name}: {changed} setting{'' if changed == 1 else 's'} changed")

        self._in_thread(load_file, before, path, preset, then=loaded)

    def action_save_preset(self) -> None:
        """Save the settings as a preset: asks for a name or path."""
        self._finish_edit(keep=True)
        form = self.form
        if form is not None:
            dialogs.save(self, form, self._tell)


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in cells.clean(text.replace("\n", "\x1f")).split("\x1f")) if text else ""
