"""Configure: edits the settings of the next run, or shows those of a live run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from textual.app import ComposeResult

from forge_tui.tui.copies import Copy
from forge_tui.tui.form.source import Draft, Filled, fill_form, load_file, presets, run_form
from forge_tui.tui.screens import moving
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.untrusted import tell_untrusted
from forge_tui.tui.widgets import cells

if TYPE_CHECKING:
    from forge_tui.protocol.plan import RunPlan
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.resources.hardware import SystemResources
    from forge_tui.tui.form.form_values import Form
    from forge_tui.tui.form.panel import FormPanel
    from forge_tui.tui.messages import StartRefused
    from forge_tui.tui.widgets.filter_line import FilterLine

_LAST_FORM = "form"


class ConfigureScreen(ForgeScreen):
    """The form, and actions on it as a whole.

    While the watched run is live, its settings are shown read-only; `n` makes new ones from them.
    """

    name_of_screen = "configure"
    filter_line: FilterLine
    PARTS: ClassVar[Mapping[str, Sequence[str]]] = {"moving": moving.ACTIONS, "filter_line": ("filter",)}

    def __init__(self, draft: Draft | None = None) -> None:
        """`draft`: the settings of the next run, kept when this screen is closed."""
        super().__init__()
        self.draft = draft or Draft()
        self._run_shown: str | None = None
        self._judged: SystemResources | None = None
        self._planning = False
        self.moving = moving.Moving(lambda: self.panel.leave_editor())

    def compose_body(self) -> ComposeResult:
        """The form."""
        from forge_tui.tui.form.panel import FormPanel

        yield FormPanel(self.draft, self.forge.glyphs, self.forge.choices)

    @property
    def panel(self) -> FormPanel:
        """The form on the screen."""
        return cast("FormPanel", self.query_one("#body > FormPanel"))

    def begin(self) -> None:
        """Show the draft, or first fill it in a thread after the first paint: that imports the schema."""
        self.filter_line = self.panel.filter_line
        self.narrowings = (self.filter_line,)
        self.panel.pane.settings.focus()
        if self.draft.form is None:
            self.call_after_refresh(self._fill)
        else:
            self._show_draft()

    def _fill(self) -> None:
        last = self.forge.choices.get(_LAST_FORM, {}) if self.draft.remembers else {}
        self.forge.call_in_thread(partial(fill_form, self.draft.source, last), then=self._filled)

    def _filled(self, filled: Filled | BaseException) -> None:
        if isinstance(filled, BaseException):
            self.draft.problem = str(filled)
        else:
            self.draft.form, self.draft.problem = filled.form, filled.problem
        if self.draft.problem is not None:
            self.forge.tell(_one_line(self.draft.problem), "error")
        self._show_draft()
        if self.forge.controller.run is None:
            self.forge.controller.count_live_runs()

    def _show_draft(self) -> None:
        if not self.is_there:  # another screen opened while files were read; the draft is kept for later
            return
        self.panel.files.look_at_dataset()
        self.panel.files.look_at_function()
        self.panel.draw()
        self.show(self.forge.controller.snapshot)
        self.draw_shell()

    @property
    def idle_actions(self) -> frozenset[str]:
        """Without a table there are no columns to show."""
        form = self.panel.form if self.is_there else None
        return frozenset() if form is not None and form.has_columns else frozenset({"columns"})

    def on_screen_resume(self) -> None:
        """Check the dataset again: files may have changed meanwhile."""
        if self.is_there and self.draft.form is not None:
            self.panel.files.look_at_dataset()
            self.panel.files.look_at_function()

    def draw_shell(self) -> None:
        """Draw the shell's lines, and the verdict on the workers with the newest state of the machine."""
        super().draw_shell()
        if self.forge.machine.detected is not self._judged and self.is_there:
            self._judged = self.forge.machine.detected
            self.panel.draw()

    def show(self, snapshot: Snapshot | None) -> None:
        """Show a live run's settings, once per run; the draft again when it has ended."""
        if self.draft.form is None or not self.is_there:
            return
        if snapshot is None or not snapshot.state.is_live:
            self._run_shown = None
            if self.panel.read_only:
                self.panel.show_draft()
            return
        path = snapshot.run.path
        if path in (self._run_shown, self.draft.beside):
            return
        self._run_shown = path

        def read(form: Form | BaseException) -> None:
            if isinstance(form, BaseException):
                self.forge.tell(f"the run's settings cannot be read: {_one_line(str(form))}", "error")
            elif self._run_shown == path:
                self.panel.show_run(path, form)

        self.forge.call_in_thread(partial(run_form, Path(path) / "settings.toml", self.draft.form), then=read)

    # Start

    def action_start(self) -> None:
        """Start a run with these settings, or say why not."""
        self._start("refuse")

    def _start(self, previous: Literal["refuse", "move"]) -> None:
        panel = self.panel
        panel.finish_edit(keep=True)
        form = panel.editable()
        if form is None:
            return
        if panel.starting:
            self.forge.tell("the run is starting")
            return
        if self.draft.problem is not None:
            reason = f"not started: {_one_line(self.draft.problem)}; fix that and open forge-tui again"
            self.forge.tell(reason, "error")
            return
        if not self._is_right(form, "not started"):
            return
        panel.starting = True
        self.draft.refusals.clear()
        self.draft.beside = None
        self.forge.choices.put(_LAST_FORM, form.set_here())
        panel.draw()
        self.forge.start_run(form.settings(), previous)

    def _is_right(self, form: Form, consequence: str) -> bool:
        """Whether all settings are valid; if not, report `consequence` and select the first invalid one."""
        from forge_tui.tui.form.fields import title_of

        errors = form.errors()
        if errors:
            problems = "; ".join(f"{title_of(name)}: {_one_line(problem)}" for name, problem in errors.items())
            self.forge.tell(f"{consequence}: {problems}", "error")
            self.panel.reveal(next(iter(errors)))
        return not errors

    def on_start_refused(self, refused: StartRefused) -> None:
        """Show the runner's reason not to begin, beside the setting that it names, if any."""
        from forge_tui.tui.form.fields import named_in

        self.panel.starting = False
        reason = _one_line(refused.reason)
        self.forge.tell(f"not started: {reason}", "error")
        name = named_in(refused.reason)
        if name is not None:
            self.draft.refusals[name] = reason
            self.panel.reveal(name)
        self.panel.draw()
        if "--overwrite" in refused.reason:
            from forge_tui.tui.screens import configure_dialogs as dialogs

            self.app.push_screen(dialogs.earlier_run(reason), self._earlier_run)

    def _earlier_run(self, answer: str | None) -> None:
        from forge_tui.tui.screens import configure_dialogs as dialogs

        if answer == dialogs.MOVE:
            self._start("move")

    # The plan

    def action_plan(self) -> None:
        """Measure the ways to carry out this run, and let the user choose one."""
        self.panel.finish_edit(keep=True)
        form = self.panel.editable()
        if form is None or not self._is_right(form, "not measured"):
            return
        if self._planning:
            self.forge.tell("the ways to train this are being measured")
            return
        from forge_tui import client

        self._planning = True
        self.forge.tell("Measuring the ways to train this here, for some seconds…")
        self.forge.call_in_thread(partial(client.plan, form.settings()), then=self._planned)

    def _planned(self, plan: RunPlan | BaseException) -> None:
        from forge_tui.tui.screens import configure_dialogs as dialogs

        self._planning = False
        if isinstance(plan, BaseException):
            self.forge.tell(f"not measured: {_one_line(str(plan))}", "error")
            return
        self.forge.tell(f"{plan.best.way.flags}: {plan.reason}")
        if self.is_there:
            self.app.push_screen(dialogs.way_picker(plan), partial(self._take_way, plan))

    def _take_way(self, plan: RunPlan, chosen: str | None) -> None:
        form = self.panel.editable()
        if chosen is None or form is None:
            return
        for name, value in plan.estimates[int(chosen)].way.settings.items():
            form = form.put(name, value)
        self.panel.change(form)

    # The columns of the table

    def action_columns(self) -> None:
        """Show the columns of the dataset, if it is a table."""
        panel = self.panel
        panel.finish_edit(keep=True)
        if panel.form is None:
            self.forge.tell("the settings are still being read")
            return
        from forge_tui.tui.screens.data import DataScreen

        if not panel.form.has_columns:
            self.forge.tell("the dataset is no table: choose a file such as a .csv or .parquet file first", "warning")
        elif panel.read_only:
            form = panel.form
            self.app.push_screen(DataScreen(panel.files.tables, lambda: form, None))
        else:
            self.app.push_screen(DataScreen(panel.files.tables, lambda: self.draft.form, panel.change))

    # The form as a whole

    def action_new(self) -> None:
        """Make new settings from those that are shown."""
        panel = self.panel
        panel.finish_edit(keep=True)
        form = panel.form
        if form is None:
            return
        shown = self._run_shown
        self.draft.beside, self._run_shown = shown or self.draft.beside, None
        self.draft.form = form.for_a_new_run()
        self.draft.refusals.clear()
        panel.files.look_at_dataset()
        panel.show_draft()
        self.forge.tell("new settings from these; Ctrl+R starts a run with them")
        if shown is not None:
            from forge_tui import client

            tell = partial(tell_untrusted, self.forge)
            self.forge.call_in_thread(partial(client.untrusted_code, Path(shown)), then=tell)

    def copies(self) -> Sequence[Copy]:
        """The command that starts the same run without the UI."""
        self.panel.finish_edit(keep=True)
        form, draft = self.panel.form, self.draft
        if form is None:
            return ()
        from forge_tui.tui.form.command import command

        # The next run's form may change until the app leaves; a live run's does not.
        read_only = self.panel.read_only
        same_run = "the same run without the screen"
        return (
            Copy("c", same_run, lambda: command(form if read_only or draft.form is None else draft.form), prints=True),
        )

    def action_load_preset(self) -> None:
        """Choose a preset or a settings file, and load its values into the form."""
        from forge_tui.tui.screens import configure_dialogs as dialogs

        self.panel.finish_edit(keep=True)
        if self.panel.editable() is not None:
            self.forge.call_in_thread(presets, then=lambda found: dialogs.ask_for_preset(self.app, found, self._load))

    def _load(self, path: Path, preset: str | None) -> None:
        before = self.draft.form
        if before is None:
            return

        def loaded(form: Form | BaseException) -> None:
            if isinstance(form, BaseException):
                self.forge.tell(f"not loaded: {_one_line(str(form))}", "error")
                return
            names = before.values.keys() | form.values.keys()
            changed = sum(form.values.get(name) != before.values.get(name) for name in names)
            kept = f"; {form.refusal}" if form.refused else ""
            self.panel.change(form)
            done = f"{preset or path.name}: {changed} setting{'' if changed == 1 else 's'} changed"
            self.forge.tell(done + kept, "error" if kept else "information")

        self.forge.call_in_thread(partial(load_file, before, path, preset), then=loaded)

    def action_save_preset(self) -> None:
        """Save the settings as a preset: asks for a name or path."""
        from forge_tui.tui.screens import configure_dialogs as dialogs

        self.panel.finish_edit(keep=True)
        if self.panel.form is not None:
            dialogs.ask_and_save(self.forge, self.panel.form)

    # Sections

    def action_fold(self) -> None:
        """Open all sections; fold them if they are open."""
        self.panel.finish_edit(keep=True)
        if self.panel.form is not None:
            self.panel.folding.toggle_all(self.panel.form.sections())

    # One setting

    def action_open_setting(self) -> None:
        """Open the selected setting or section; for a live run only the number of workers can be changed."""
        key = self.panel.selected_key()
        if self.panel.read_only and key is not None and key.key == "training.max_parallel_workers":
            self.forge.steering.action_workers()
        else:
            self.panel.open_selected()

    def action_sweep(self) -> None:
        """Edit several values of the selected setting: a sweep."""
        self.panel.open_values()

    def action_less(self) -> None:
        """The previous word or a smaller number."""
        self.panel.step(-1)

    def action_more(self) -> None:
        """The next word or a larger number."""
        self.panel.step(1)

    def action_reset_setting(self) -> None:
        """Restore the setting's default."""
        self.panel.reset_selected()

    def action_reset_all(self) -> None:
        """Restore all defaults and forget the last form; again: undo that."""
        if self.panel.reset_all() and self.draft.remembers:
            self.forge.choices.put(_LAST_FORM, {})


def _one_line(text: str) -> str:
    """Several problems as one line, without control characters."""
    return "; ".join(cells.clean(line.strip()) for line in text.splitlines() if line.strip())
