"""Actions on the watched run that do not control it: report, its settings for a new run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge_tui import client
from forge_tui.errors import ForgeError, UntrustedCode
from forge_tui.safe_io.printing import printable
from forge_tui.tui.dialogs.questions import Choice, Question
from forge_tui.tui.form.source import Draft, fill_form, run_form
from forge_tui.tui.messages import StartRefused
from forge_tui.tui.screens.exporting import ask_and_export
from forge_tui.tui.screens.untrusted import tell_untrusted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forge_tui.client.run import Run
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.form.form_values import Form
    from forge_tui.tui.messages import RunRefused

_NO_RUN = "No run is watched: 3 shows the known ones."


class RunActions:
    """Actions that read or copy the watched run."""

    def __init__(self, app: AppInterface, draft: Draft, show_configure: Callable[[], None]) -> None:
        """`draft`: the settings of the next run, which `show_configure` brings to the front."""
        self._app, self._draft, self._show_configure = app, draft, show_configure

    def action_export(self) -> None:
        """Ask for a format, then write the report of the watched run to a file."""
        run = self._app.controller.run
        if run is None:
            self._app.tell(_NO_RUN, "warning")
            return
        path = run.path
        self._app.run_dialog(ask_and_export(self._app, run.id, lambda: client.attach(path)))

    def action_new(self) -> None:
        """Configure, with the settings of the watched run for a new one."""
        run, draft = self._app.controller.run, self._draft
        if run is None:
            self._show_configure()
            return

        def taken(result: tuple[Form, list[str]] | ForgeError) -> None:
            if isinstance(result, ForgeError):
                self._app.tell(str(result), "error")
                return
            draft.form, untrusted = result
            draft.beside = str(run.path)
            draft.refusals.clear()
            self._show_configure()
            self._app.tell("new settings from those of the run; Ctrl+R starts a run with them")
            tell_untrusted(self._app, untrusted)

        self._app.call_in_thread(lambda: (self._new_form(run), client.untrusted_code(run.path)), then=taken)

    def _new_form(self, run: Run) -> Form:
        """The run's settings for a new run. Reads files: call it in a thread."""
        base = self._draft.form or fill_form(self._draft.source, {}).form
        return run_form(run.directory.settings, base).for_a_new_run()

    # --- a run that could not be opened

    def tell_refused(self, message: RunRefused) -> None:
        """Show why; for a new run the screen in front is notified too."""
        request, reason = message.request, str(message.error)
        if isinstance(message.error, UntrustedCode) and request.path is not None:
            self._app.tell("Not resumed: it would run code that you have not started here.", "warning")
            self._app.run_dialog(self._ask_for_trust(request.path, request.epochs, reason))
            return
        self._app.tell(reason, "error")
        if request.how == "start" and self._app.front is not None:
            self._app.front.post_message(StartRefused(reason))

    async def _ask_for_trust(self, path: Path, epochs: int | None, what: str) -> None:
        """Show which code would run; Enter does not allow it."""
        question = "\n".join(map(printable, what.split("\n")))
        choices = (Choice("t", "Trust this code, and resume", "trust"), Choice("b", "Back", "back"))
        if await self._app.push_screen_wait(Question(question, choices, "back")) == "trust":
            self._app.resume_run(path, epochs, trust_code=True)
