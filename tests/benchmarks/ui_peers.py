"""The peers of the UI's benchmarks: a bare Textual app, and one with a `DataTable` on the same run.

python ui_peers.py                   title, host, one text and a key
python ui_peers.py table DIRECTORY   the models of a run, twice a second
"""

from __future__ import annotations

import getpass
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App, ComposeResult
from textual.widgets import Static

if TYPE_CHECKING:
    from textual.widgets import DataTable

    from forge_tui.client.run import Run
    from forge_tui.protocol.model_state import ModelState

REFRESH = 0.5
TITLES = ("MODEL", "PHASE", "EPOCH", "LOSS", "BEST", "VAL", "ETA")


class Bare(App[None]):
    """As little as a Textual app can be: two texts, and a key that changes one."""

    BINDINGS = [("m", "answer", "Answer")]  # noqa: RUF012

    def compose(self) -> ComposeResult:
        yield Static(f"bare app  {getpass.getuser()}@{socket.gethostname()}")
        yield Static("? Help", id="answer")

    def action_answer(self) -> None:
        self.query_one("#answer", Static).update("mouse: answered")


class Table(App[None]):
    """A `DataTable` of the run's models, and which is selected; the run is read in a thread, as we do it.

    The bare app does not pay for the import of `DataTable`.
    """

    CSS = "DataTable { height: 1fr; }"

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run_watched = run
        self.known: tuple[ModelState, ...] = ()

    def compose(self) -> ComposeResult:
        from textual.widgets import DataTable

        yield DataTable(cursor_type="row")
        yield Static(id="selected")

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        self.query_one("#selected", Static).update(f"> {event.row_key.value}")

    def on_mount(self) -> None:
        from textual.widgets import DataTable

        table = self.query_one(DataTable)
        for title in TITLES:
            table.add_column(title, key=title, width=20 if title == "MODEL" else 10)
        self.set_interval(REFRESH, self.look)
        self.look()

    def look(self) -> None:
        self.run_worker(self.read, thread=True, exclusive=True)

    def read(self) -> None:
        models = self.run_watched.snapshot().models
        self.call_from_thread(self.show, models)

    def show(self, models: tuple[ModelState, ...]) -> None:
        from textual.widgets import DataTable

        table = self.query_one(DataTable)
        if not self.known:
            for model in models:
                table.add_row(*cells(model), key=model.name)
        else:
            for model, before in zip(models, self.known, strict=True):
                if model is not before:
                    for title, now, then in zip(TITLES, cells(model), cells(before), strict=True):
                        if now != then:
                            table.update_cell(model.name, title, now)
        self.known = models


def cells(model: ModelState) -> tuple[str, ...]:
    """One row."""
    return (
        model.name,
        f"● {model.phase}",
        f"{model.epoch}/{model.epochs}",
        f"{model.loss:.4f}",
        f"{model.best_loss:.4f}",
        f"{100 * (model.metrics.get('validation_accuracy') or 0):.1f}%",
        f"{model.eta_seconds or 0:.0f}",
    )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        from forge_tui import client

        Table(client.attach(Path(sys.argv[2]))).run()
    else:
        Bare().run()
