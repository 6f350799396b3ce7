"""A run for TensorBoard: a directory per model, with every metric of every epoch, and its settings."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.errors import ForgeError
from forge_tui.exporters.courses import Mark
from forge_tui.exporters.export import Export
from forge_tui.exporters.names import flat_settings
from forge_tui.exporters.output import OutputDirectory, cannot_write
from forge_tui.exporters.target import final_values, values_of
from forge_tui.exporters.tensorboard_files import Written, read_back
from forge_tui.exporters.tensorboard_records import (
    figures_record,
    first_record,
    settings_record,
    start_record,
    success_record,
)
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.safe_io.printing import shell_word
from forge_tui.safe_io.read_only import refuse_if_read_only

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.events import EpochFinished
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.snapshot import Snapshot

# TensorBoard recognises its files by the first part, and reads those of a directory in the order of their names.
_PATTERN = "events.out.tfevents.*.forge-tui.*"


class EventFiles:
    """Event files in an `OutputDirectory`. The step is the epoch; tags are named as in the CSV report.

    They are only ever appended to: TensorBoard may be reading them. Steps that are replaced are discarded by a record
    that a session has started again, as TensorFlow does when it resumes from a checkpoint.
    """

    def __init__(self, output: OutputDirectory) -> None:
        self._output = output
        self._written: dict[str, Written] = {}

    @property
    def place(self) -> str:
        """The directory."""
        return str(self._output.path)

    @property
    def hint(self) -> str:
        """How to look at it."""
        return f"`tensorboard --logdir {shell_word(self.place)}` shows them"

    def marks(self, model: ModelState) -> Collection[Mark]:
        """As `Target.marks`."""
        return self._of(model).marks

    def can_add(self, model: ModelState) -> bool:
        """As `Target.can_add`."""
        return True

    def add(self, model: ModelState, epochs: Sequence[EpochFinished], last: Mark) -> None:
        """As `Target.add`."""
        self._append(model, epochs[0], b"", epochs)

    def replace(self, model: ModelState, first: int, history: Sequence[EpochFinished], last: Mark) -> None:
        """As `Target.replace`."""
        written = self._of(model)
        again = [epoch for epoch in history if epoch.epoch >= first]
        if history:
            first = max(first, 1)  # the settings are at step 0
            written.marks.discard_from(first)
            self._append(model, history[0], start_record(history[-1].time, first), again)

    def describe(self, snapshot: Snapshot, models: Sequence[ModelState]) -> None:
        """Write what is measured at the end of completed models."""
        for model in models:
            end = model.finished
            if model.phase is not TrainingPhase.COMPLETED or end is None or model.epoch == 0:
                continue
            step = model.best_epoch or model.epoch
            written = self._of(model)
            if written.path is None or Mark(step, end) in written.marks:
                continue
            values = final_values(snapshot, model)
            self._write(model, written.path, figures_record(end, step, values) + success_record(end))
            written.marks.put(Mark(step, end))

    def close(self) -> None:
        """As `Target.close`."""
        self._output.close()

    def _of(self, model: ModelState) -> Written:
        if (found := self._written.get(model.name)) is None:
            directory = self._output.path / model.name
            try:
                found = read_back(directory, _PATTERN)
            except OSError as error:
                if isinstance(error, ForgeError):
                    raise
                raise cannot_write(error, directory) from error
            self._written[model.name] = found
        return found

    def _append(self, model: ModelState, begin: EpochFinished, prefix: bytes, epochs: Sequence[EpochFinished]) -> None:
        written, path = self._of(model), self._of(model).path
        data = prefix
        if path is None or not written.is_whole:
            # What a killed export has left of a record stays: a reader may have read its beginning.
            written.files += 1
            path = self._output.path / model.name / f"events.out.tfevents.{begin.time:.0f}.forge-tui.{written.files:04}"
            head = first_record(begin.time)
            if written.files == 1:
                head += start_record(begin.time, 0) + self._settings(model, begin.time)
            data = head + data
        for epoch in epochs:
            known = {name: value for name, value in values_of(epoch).items() if value is not None}
            data += figures_record(epoch.time, epoch.epoch, known)
        self._write(model, path, data)
        written.path, written.is_whole = path, True
        for epoch in epochs:
            written.marks.put(Mark.of(epoch))

    def _settings(self, model: ModelState, begun: float) -> bytes:
        return settings_record(begun, model.name, {"seed": model.seed, **flat_settings(model.config)})

    def _write(self, model: ModelState, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            finally:
                os.close(descriptor)
        except OSError as error:
            self._written.pop(model.name, None)  # what it has now is read again
            raise cannot_write(error, path) from error


def write_event_files(run: Run, directory: Path) -> Path:
    """Write a run's event files into `RUN-tensorboard` in `directory`, such as `20261123-150210-planner-tensorboard`.

    What is there already is continued: only what it lacks is written. Returns its absolute path. If another run's
    export has the name, `-2`, `-3`, … is added. Raises `ForgeError` if no epoch is done or nothing can be written,
    `RunDirectoryError` if the run cannot be read.
    """
    refuse_if_read_only("write a report")
    snapshot = run.snapshot()
    if not any(model.epoch > 0 for model in snapshot.models):
        raise ForgeError(f"run {run.id}: no model has finished an epoch yet; there is nothing for TensorBoard to show")
    target = EventFiles(OutputDirectory.open(snapshot.run, "tensorboard", directory))
    try:
        Export(run, target).update()
    finally:
        target.close()
    return Path(target.place)
