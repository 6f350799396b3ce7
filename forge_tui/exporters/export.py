"""Bring an output to the state of a run, once or until the run ends: only what it lacks is written."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forge_tui.errors import RunDirectoryError
from forge_tui.exporters.courses import Course, Mark, Numbered, history_of
from forge_tui.safe_io.printing import named

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.exporters.target import Target
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.snapshot import Snapshot

INTERVAL = 1.0
"""Seconds between two looks at a live run."""
_PAGE = 5_000
# While another program holds run.db, its reader returns what it knows: nothing new.
_PATIENCE = 10.0
_PAUSE = 0.1


@dataclass(slots=True)
class Counts:
    """What has been written: epochs, and how often a model's epochs were replaced."""

    epochs: int = 0
    replaced: int = 0


class Export:
    """Writes a run into an output, pass by pass."""

    def __init__(self, run: Run, target: Target) -> None:
        self._run, self._target = run, target
        self._courses: dict[int, Course] = {}
        self._described: dict[int, ModelState] = {}
        self._since: int | None = None
        self.counts = Counts()

    def update(self) -> Snapshot:
        """Write what the output lacks. Raises `ForgeError` if it cannot be written, or the run not be read."""
        return self._write(self._run.snapshot())

    def follow(self, cancelled: threading.Event | None = None) -> Iterator[Snapshot]:
        """`update` now and whenever something has changed, until the run ends. Raises as `update` and `Run.follow`."""
        for snapshot in self._run.follow(INTERVAL, cancelled):
            yield self._write(snapshot)

    def _write(self, snapshot: Snapshot) -> Snapshot:
        models = {model.index: model for model in snapshot.models}
        if self._since is None:
            self._since, behind = self._lacking(models)
            for index, newest in behind.items():
                self._bring_up(snapshot, models[index], (), newest)
        for index, rows in self._next_rows(snapshot.state.is_live).items():
            if (model := models.get(index)) is not None:
                self._bring_up(snapshot, model, rows, rows[-1][0])
        for index in [index for index in self._courses if _has_ended(snapshot, models[index])]:
            self._bring_up(snapshot, models[index], (), 0)
            del self._courses[index]  # a run that is resumed makes it again
        changed = [model for model in snapshot.models if self._described.get(model.index) is not model]
        self._target.describe(snapshot, changed)
        self._described.update((model.index, model) for model in changed)
        return snapshot

    def _lacking(self, models: dict[int, ModelState]) -> tuple[int, dict[int, int]]:
        """The number of the newest epoch, and that of each model whose newest one the output does not have."""
        last = self._run.last_epochs()
        behind = {
            index: newest.seq
            for index, newest in last.items()
            if (model := models.get(index)) is not None
            and Mark(newest.epoch, newest.time) not in self._target.marks(model)
        }
        return max((newest.seq for newest in last.values()), default=0), behind

    def _next_rows(self, live: bool) -> dict[int, list[Numbered]]:
        """The epochs that are new since the last pass, by model."""
        wanted = 0 if live else max((newest.seq for newest in self._run.last_epochs().values()), default=0)
        found: dict[int, list[Numbered]] = {}
        for seq, epoch in self._rows_after(self._since or 0, wanted):
            found.setdefault(epoch.index, []).append((seq, epoch))
            self._since = seq
        return found

    def _rows_of(self, index: int, wanted: int) -> list[Numbered]:
        """All epochs of a model, at least up to event number `wanted`."""
        return list(self._rows_after(0, wanted, index))

    def _rows_after(self, since: int, wanted: int, index: int | None = None) -> Iterator[Numbered]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            page = self._run.epochs_after(since, _PAGE, index)
            yield from page.epochs
            since = page.since
            if page.may_be_more:
                continue
            if since >= wanted:
                return
            if time.monotonic() > deadline:
                raise RunDirectoryError(
                    f"{named(self._run.directory.database)} is locked by another program; find it, and export again"
                )
            time.sleep(_PAUSE)

    def _bring_up(self, snapshot: Snapshot, model: ModelState, rows: Sequence[Numbered], newest: int) -> None:
        """Write `rows`; of a model met first all that the output lacks, up to event number `newest` at least."""
        alone, course, replaced_from = snapshot.run.has_custom_loop, self._courses.get(model.index), None
        if course is None:
            rows = self._rows_of(model.index, newest)
            course = self._courses[model.index] = Course(alone)
            there = set(self._target.marks(model))
            known = max((seq for seq, epoch in rows if Mark.of(epoch) in there), default=0)
            course.take((row for row in rows if row[0] <= known), ended=False)
            if there and not known:  # of a history that the run no longer has
                replaced_from = 0
        change = course.take(rows, ended=_has_ended(snapshot, model))
        if course.last is None:
            return
        if replaced_from is None:
            replaced_from = change.replaced_from
            self.counts.replaced += replaced_from is not None
            if change.new and not self._target.can_add(model):
                replaced_from = change.new[0].epoch
        if replaced_from is not None:
            so_far = (row for row in self._rows_of(model.index, course.since) if row[0] <= course.since)
            history = history_of(so_far, alone)
            self._target.replace(model, replaced_from, history, course.last)
            self.counts.epochs += sum(epoch.epoch >= replaced_from for epoch in history)
        elif change.new:
            self._target.add(model, change.new, course.last)
            self.counts.epochs += len(change.new)


def _has_ended(snapshot: Snapshot, model: ModelState) -> bool:
    """Whether no further epochs of the model follow, for now."""
    return model.phase.is_final or not snapshot.state.is_live
