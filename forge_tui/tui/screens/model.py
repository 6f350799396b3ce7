"""The screen of one model: curve, metrics, attempts with tracebacks, config, checkpoints, output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.events import Resize

from forge_tui.client.run import Run
from forge_tui.errors import ForgeError
from forge_tui.protocol.metrics import MetricTable
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.tui.chart.chart_widget import Chart, Series
from forge_tui.tui.chart.fetching import fetch_series
from forge_tui.tui.chart.quantities import LOSSES, Quantity, is_missing, recorded
from forge_tui.tui.copies import Copy
from forge_tui.tui.screens import chart_keys, copying, grid_switch, model_text, moving, text_and_curve
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.model_files import ModelFiles, read_files
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.document import Document, Paragraph
from forge_tui.tui.widgets.line import Line

READ_SECONDS = 2.0


class ModelScreen(ForgeScreen):
    """Two lines and the curve are fixed; the rest scrolls below them. z zooms the text or the curve."""

    name_of_screen: ClassVar[str] = "model"
    over_another = True
    PARTS: ClassVar[Mapping[str, Sequence[str]]] = {
        "moving": moving.ACTIONS,
        "room": text_and_curve.ACTIONS,
        "chart_keys": chart_keys.ACTIONS,
        "switch": grid_switch.ACTIONS,
    }
    DEFAULT_CSS = """
    ModelScreen #headline, ModelScreen #progress { height: 1; padding: 0 1; }
    ModelScreen #curve { height: 2fr; min-height: 6; }
    ModelScreen #document { height: 3fr; min-height: 3; padding: 0 1; }
    ModelScreen.-no-curve #curve, ModelScreen.-zoom-text #curve, ModelScreen.-zoom-curve #document { display: none; }
    ModelScreen.-zoom-curve #curve { display: block; }
    ModelScreen #grid { display: none; height: 2fr; min-height: 6; }
    ModelScreen.-grid #grid, ModelScreen.-grid.-zoom-curve #grid { display: block; }
    ModelScreen.-grid #curve, ModelScreen.-grid.-no-curve #grid, ModelScreen.-grid.-zoom-text #grid { display: none; }
    ModelScreen.-grid.-zoom-curve #curve { display: none; }
    """

    def __init__(self, name: str) -> None:
        """`name` is the model's."""
        super().__init__()
        self._model_name = name
        self._model: ModelState | None = None
        self._metrics = MetricTable()
        self._files: ModelFiles | None = None
        self._problem = ""
        self._reading = False
        self._read_of: ModelState | None = None
        self.room = text_and_curve.TextAndCurve(self, self._has_a_curve)
        self.moving = moving.Moving(lambda: self.document)

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self._model_name

    def chosen_models(self) -> set[str]:
        """This model."""
        return {self._model_name}

    def copies(self) -> Sequence[Copy]:
        """What can be copied of the model and of its run."""
        run, snapshot = self.forge.controller.run, self.forge.controller.snapshot
        if run is None or snapshot is None or self._model is None:
            return ()
        of_run = copying.copies_of_run(run.path, is_live=snapshot.state.is_live)
        return [*copying.copies_of_model(self._model), *of_run]

    def compose_body(self) -> ComposeResult:
        """Two lines, the curve, the text."""
        glyphs = self.forge.glyphs
        yield Line(id="headline")
        yield Line(id="progress")
        chart = Chart(glyphs=glyphs, id="curve")
        self.switch = switch = grid_switch.GridSwitch(
            self,
            self.forge,
            chart,
            of=self._shown_in_the_grid,
            quantities=self._quantities,
            changed=self._metrics_changed,
        )
        self.grid = switch.grid
        self.chart_keys = chart_keys.ChartKeys(
            chart, self.forge.choices,
            quantities=switch.quantities, changed=self._metrics_changed, charts=lambda: switch.charts,
        )  # fmt: skip
        self.narrowings = (chart, self.grid, self.room)
        yield chart
        yield self.grid
        yield Document(only_ascii=glyphs.ascii, id="document")

    def begin(self) -> None:
        """Show the known state, then read the rest in a thread."""
        self.document.focus()
        self.show(self.forge.controller.snapshot)
        self.set_interval(READ_SECONDS, self._read_if_changed)

    @property
    def document(self) -> Document:
        """The text."""
        return self.query_one("#document", Document)

    @property
    def chart(self) -> Chart:
        """The curve."""
        return self.query_one("#curve", Chart)

    # --- drawing

    def show(self, snapshot: Snapshot | None) -> None:
        """Draw the model's state in a snapshot."""
        if not self.is_there:
            return
        if snapshot is None:
            reading = self.forge.controller.removed or f"Reading the run of {self._model_name}…"
            self.query_one("#headline", Line).show(cells.clean(reading))
            return
        model = next((model for model in snapshot.models if model.name == self._model_name), None)
        if model is None:
            missing = f"This run has no model {cells.clean(self._model_name)}: Esc goes back."
            self.query_one("#headline", Line).show(missing)
            return
        first, self._model, self._metrics = self._model is None, model, snapshot.metrics
        self._draw(model, len(snapshot.models))
        if first or model.phase.is_final:
            self._read_if_changed()

    def _draw(self, model: ModelState, count: int) -> None:
        glyphs = self.forge.glyphs
        line = self.query_one("#headline", Line)
        width = line.content_size.width or self.size.width
        line.show(_text(model_text.headline(model, glyphs, count, width)))
        took = self.forge.controller.took(model)
        self.query_one("#progress", Line).show(
            _text(model_text.model_progress(model, self._metrics, glyphs, width, took))
        )
        self._draw_document(model)
        self.room.fit()
        self._refresh_grid()

    def _draw_document(self, model: ModelState) -> None:
        glyphs, files, problem = self.forge.glyphs, self._files, self._problem

        def build(width: int) -> list[Paragraph]:
            took = self.forge.controller.took(model)
            return model_text.model_document(
                model, self._metrics, files, problem, width, glyphs, self.forge.clock(), took, self.forge.machine.gpus
            )

        self.document.show(build)

    def _shown_in_the_grid(self) -> tuple[Run | None, list[ModelState]]:
        return self.forge.controller.run, [] if self._model is None else [self._model]

    def _refresh_grid(self, *, due: bool = False) -> None:
        self.switch.fit()
        self.grid.refresh_curves(due=due)

    def _metrics_changed(self) -> None:
        """Draw another metric, or a grid of all."""
        if self.is_there:
            self._refresh_grid(due=True)

    def on_chart_pointed(self) -> None:
        """Show the way back from the cursor."""
        self._metrics_changed()
        self.draw_shell()

    def _has_a_curve(self) -> bool:
        """Whether the model has an epoch; before, the text takes the space of the curve."""
        return self._model is None or self._model.epoch > 0

    def forget_run(self) -> None:
        """Go back to Watch, which reports that the run no longer exists."""
        if self.app.screen is self:
            self.leave_screen()

    # --- reading, in threads

    def _read_if_changed(self) -> None:
        """Read curve and files if the model may have changed; one reading at a time."""
        run, model = self.forge.controller.run, self._model
        if run is None or model is None or self._reading or not self.is_there or self.forge.front is not self:
            return
        if model is self._read_of and model.phase.is_final:
            return
        self._read(run, model)

    def _read(self, run: Run, model: ModelState) -> None:
        self._reading, self._read_of = True, model
        if is_missing(self.chart.quantity, [model]):
            self.chart.measure(self._quantities()[0])
        buckets, quantity = max(1, self.chart.wanted_buckets), self.chart.quantity

        def read() -> tuple[tuple[Series, ...], ModelFiles]:
            return fetch_series(run, [model], buckets, quantity), read_files(run.directory, model.name, model.log_name)

        def done(result: tuple[tuple[Series, ...], ModelFiles] | ForgeError) -> None:
            self._reading = False
            if not self.is_there:
                return
            if isinstance(result, ForgeError):
                self._problem = str(result)
            else:
                series, self._files = result
                self._problem = ""
                if quantity.curves == self.chart.quantity.curves:  # otherwise another one was requested meanwhile
                    self.chart.show(series)
            if self._model is not None:
                self._draw_document(self._model)
            if self._read_of is None:
                self._read_if_changed()

        self.forge.call_in_thread(read, then=done)

    def _quantities(self) -> tuple[Quantity, ...]:
        """The quantities that this model has recorded."""
        return LOSSES if self._model is None else recorded([self._model], self._metrics)

    def on_chart_view_changed(self) -> None:
        """Fetch the curve for the new view or resolution."""
        self._read_of = None
        self._read_if_changed()

    def on_resize(self, event: Resize) -> None:
        """Show the grid if there is room for it now."""
        super().on_resize(event)
        self.call_after_refresh(self._metrics_changed)

    # --- moving

    def action_next_pane(self) -> None:
        """Go to the next section: metrics, attempts, config, checkpoints, output."""
        self.document.to_next_anchor()

    def action_log_pane(self) -> None:
        """Go to the output of the model."""
        self.document.go_to("output")


def _text(pieces: list[cells.Piece]) -> Text:
    text = Text()
    for piece, style in pieces:
        text.append(piece, style=style)
    return text
