"""The log of the watched run: its events as lines, and failures in the status line."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from forge_tui.protocol.phases import RunState
from forge_tui.text.event_lines import log_line
from forge_tui.tui.follow import has_failed
from forge_tui.tui.screens import watch_text
from forge_tui.tui.widgets.log_pane import LogPane

if TYPE_CHECKING:
    from forge_tui.tui.app_interface import AppInterface


class RunLog(LogPane):
    """A log pane for events. Every new line moves all others, so lines are collected and added together."""

    def __init__(self, forge: AppInterface, *, id: str) -> None:
        super().__init__(only_ascii=forge.glyphs.ascii, id=id)
        self._forge = forge
        self._kept: list[tuple[str, str]] = []

    def add_events(self, events: Iterable[dict[str, Any]]) -> None:
        """Add events; failures, the first lines, and all of an ended run are shown at once."""
        events = list(events)
        self._keep(events)
        if self._tell_news(events) or not self.lines or self._forge.controller.has_ended:
            self.flush()

    def show_past(self, events: Iterable[dict[str, Any]]) -> None:
        """Show earlier events; failures are reported unless they have been already."""
        events = list(events)
        self._keep(events)
        self.flush()
        if not self._forge.controller.news_told:
            self._tell_news(events)

    def _keep(self, events: Iterable[dict[str, Any]]) -> None:
        lines = (log_line(record) for record in events)
        self._kept += [line for line in lines if line is not None]

    def flush(self) -> None:
        """Add the collected lines."""
        if self._kept:
            self.add(self._kept)
            self._kept = []

    def forget_run(self) -> None:
        """Clear the log: the run no longer exists."""
        self._kept.clear()
        self.clear()

    def _tell_news(self, events: list[dict[str, Any]]) -> bool:
        """Report failures, or else warnings; returns whether anything failed. The first failure stays."""
        forge = self._forge
        forge.controller.news_told = True
        snapshot = forge.controller.snapshot
        now = snapshot.runner_time if snapshot is not None and snapshot.state.is_live else forge.clock()
        failures = [record for record in events if watch_text.is_news(record, snapshot, now)]
        if failures and (snapshot is None or snapshot.state is not RunState.DIED):  # a death is reported already
            text = watch_text.failure_text(
                snapshot, failures[-1], self.app.size.width - len("! "), forge.glyphs.ellipsis
            )
            cause = snapshot.failures[0].model if snapshot is not None and snapshot.failures else None
            forge.tell(text, "error", holds=None if cause is None else partial(has_failed, model=cause))
        warnings = [record for record in events if watch_text.is_new_warning(record, now)]
        if warnings and not failures:
            forge.tell(warnings[-1]["message"], "warning")
        return bool(failures)
