"""A known run in a few lines, read in a thread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.errors import ForgeError
from forge_tui.tui.screens.run_text import about_run
from forge_tui.tui.widgets.document import Document, Paragraph

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.lists.known_runs import KnownRuns, RunLook


class RunDetail(Document, can_focus=False):
    """Shows a run's entry of the list, and more once it has been read."""

    def __init__(self, forge: AppInterface, known: KnownRuns, *, id: str) -> None:
        super().__init__(only_ascii=forge.glyphs.ascii, id=id)
        self._forge, self._known = forge, known
        self._look: RunLook | None = None
        self._reading: Path | None = None
        self._read: tuple[Path, Snapshot | None, str] | None = None

    def snapshot_of(self, path: Path) -> Snapshot | None:
        """The run's snapshot, if it is the one that was read last."""
        return self._read[1] if self._read is not None and self._read[0] == path else None

    def show_run(self, look: RunLook | None) -> None:
        """Show another run, and read it."""
        self._look = look
        self._draw()
        self._read_it()

    def update_run(self, look: RunLook | None) -> None:
        """Show the run's new state, and read it if it may have changed."""
        self._look = look
        if look is None or look.is_live or self._has_changed(look):
            self._read_it()
        else:
            self._draw()

    def _has_changed(self, look: RunLook) -> bool:
        if self._read is None or self._read[0] != look.entry.path:
            return True
        snapshot = self._read[1]
        return snapshot is not None and look.state is not None and snapshot.state is not look.state

    def _read_it(self) -> None:
        """Read one run at a time, so that scrolling through the list only reads the last one."""
        look = self._look
        if look is None or look.state is None:
            self._read = None
            self._draw()
            return
        if self._reading is not None:
            return
        path = self._reading = look.entry.path

        def read(result: Snapshot | ForgeError) -> None:
            self._reading = None
            if not self.is_attached:
                return
            self._read = (path, None, str(result)) if isinstance(result, ForgeError) else (path, result, "")
            self._draw()
            if self._look is not None and self._look.entry.path != path:
                self._read_it()

        self._forge.call_in_thread(lambda: self._known.snapshot(path), then=read)

    def _draw(self) -> None:
        look = self._look
        lines: list[Paragraph] = []
        if look is not None:
            known = self._read if self._read is not None and self._read[0] == look.entry.path else None
            snapshot, problem = known[1:] if known else (None, "")
            lines = about_run(look, snapshot, problem, self._forge.glyphs.ascii)
        self.show(lambda _width: lines)
