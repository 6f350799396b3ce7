"""The output of the selected model in Watch: the last lines that its code printed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from forge_tui.tui.screens.model_output import Output, read_output
from forge_tui.tui.widgets.log_pane import LogPane

if TYPE_CHECKING:
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.tui.app_interface import AppInterface

NOTHING = "no output yet"


class ModelOutput(LogPane):
    """Follows the end of one model's log, which is read in a thread while the pane is shown."""

    def __init__(self, forge: AppInterface, model: Callable[[], ModelState | None], *, id: str) -> None:
        """`model` returns the selected model, if there is one."""
        super().__init__(only_ascii=forge.glyphs.ascii, id=id)
        self._forge, self._model = forge, model
        self._shown: tuple[str | None, Output] | None = None
        self._reading = False

    def read(self) -> None:
        """Read the selected model's output again; one reading at a time."""
        run, model = self._forge.controller.run, self._model()
        if run is None or model is None or self._reading:
            return
        self._reading = True

        def done(found: Output | BaseException) -> None:
            self._reading = False
            if not self.is_mounted:
                return
            self._show(model.name, Output(problem=str(found)) if isinstance(found, BaseException) else found)
            now = self._model()
            if now is not None and now.name != model.name:  # another one was selected meanwhile
                self.read()

        self._forge.call_in_thread(partial(read_output, run.directory, model.log_name or model.name), then=done)

    def forget_run(self) -> None:
        """Clear the output: the run no longer exists."""
        self._shown = None
        self.clear()

    def _show(self, name: str, output: Output) -> None:
        before, self._shown = self._shown, (name, output)
        if before == self._shown:
            return
        lines = [(line, "information") for line in output.lines]
        if output.problem:
            lines.append((output.problem, "error"))
        self.show(lines or [(NOTHING, "output")], from_end=before is None or before[0] != name)
