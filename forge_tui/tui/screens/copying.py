"""What can be copied of a run and of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.safe_io.printing import harmless, printable, shell_word
from forge_tui.tui.copies import Copy

if TYPE_CHECKING:
    from forge_tui.protocol.model_state import ModelState


def copies_of_run(path: Path, *, is_live: bool) -> list[Copy]:
    """The command that starts the same run, the run's path, and the commands that open or resume it."""
    found = [
        Copy("c", "the command that starts the same run, in a new directory", lambda: _command(path), True, True),
        Copy("p", "the path of the run", lambda: printable(str(path))),
        Copy("a", "the command that opens it", lambda: f"forge-tui attach {shell_word(str(path))}"),
    ]
    if not is_live:
        found.append(Copy("r", "the command that resumes it", lambda: f"forge-tui resume {shell_word(str(path))}"))
    return found


def copies_of_model(model: ModelState) -> list[Copy]:
    """The traceback of the last failure and the path of the finished model, if there are."""
    found = []
    traceback = next((failure.traceback for failure in reversed(model.failures) if failure.traceback), None)
    if traceback is not None:
        text = harmless(traceback.rstrip())
        found.append(Copy("t", f"the traceback of {printable(model.name)}", lambda: text))
    if model.path:
        path = printable(model.path)
        found.append(Copy("m", f"the path of {printable(model.name)}", lambda: path))
    return found


def _command(path: Path) -> str:
    from forge_tui.tui.form.command import command  # imports the schema: in the thread
    from forge_tui.tui.form.source import FormSource, fill_form, run_form

    base = fill_form(FormSource(), {}).form
    return command(run_form(path / "settings.toml", base).for_a_new_run())
