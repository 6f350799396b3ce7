"""Asks for a format and writes the report of a run to a file, for every screen with a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_tui.client.run import Run
from forge_tui.errors import ForgeError
from forge_tui.reports.run_report import FORMATS, ReportFormat, export_report
from forge_tui.text.figures import short_path
from forge_tui.tui.dialogs.questions import Choice

if TYPE_CHECKING:
    from forge_tui.tui.app_interface import Teller

_EVENT_FILES = "tensorboard"
_CHOICES = (
    Choice("t", "Text: a summary", "text"),
    Choice("j", "JSON: everything, with every epoch", "json"),
    Choice("c", "CSV: every epoch of every model", "csv"),
    Choice("h", "HTML: a page with curves, for a browser", "html"),
    Choice("e", "Event files for TensorBoard: a directory of them", _EVENT_FILES),
    Choice("b", "Back", "back"),
)


async def ask_and_export(app: Teller, name: str, open_run: Callable[[], Run]) -> None:
    """Ask for the format, write the report of the run called `name` into the current directory, and show its path.

    `open_run` is called in a thread and returns a run that is closed afterwards. Await this in a worker.
    """
    try:
        directory = Path.cwd()
    except OSError as error:
        app.tell(f"No report is written: the working directory no longer exists ({error.strerror}).", "error")
        return
    answer = await app.dialogs.ask(f"Write a report of {name} into {short_path(directory)}?", _CHOICES, "text")
    form: ReportFormat | None = next((each for each in FORMATS if each == answer), None)
    if form is None and answer != _EVENT_FILES:
        return
    app.tell(f"Writing the report of {name}…")

    def write() -> Path:
        from forge_tui.exporters.tensorboard import write_event_files  # here: the UI starts without it

        with open_run() as run:
            return write_event_files(run, directory) if form is None else export_report(run, form, directory)

    def report_done(result: Any) -> None:
        if isinstance(result, ForgeError):
            app.tell(str(result), "error")
        else:
            app.tell(f"report: {result}")

    app.call_in_thread(write, then=report_done)
