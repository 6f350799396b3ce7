"""A run for Weights & Biases, offline: a W&B run per model, as files that `wandb sync` uploads."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.errors import ForgeError, UsageError
from forge_tui.exporters.courses import Mark
from forge_tui.exporters.names import flat_settings, name_for_wandb, run_key
from forge_tui.exporters.output import OutputDirectory, cannot_write
from forge_tui.exporters.target import final_values, values_of
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.safe_io.plain_files import read_file
from forge_tui.safe_io.printing import shell_word, shortened
from forge_tui.safe_io.strict_json import STATE, BadJson, parse_object
from forge_tui.safe_io.whole_files import write_atomically

if TYPE_CHECKING:
    import wandb

    from forge_tui.protocol.events import EpochFinished
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.run_info import RunInfo
    from forge_tui.protocol.snapshot import Snapshot

_MARKER = "forge-tui-model.json"
# Of models beyond these, epochs are written when they have ended: each open run is a stream of W&B's own process.
_MOST_OPEN = 32
_LONGEST_MESSAGE = 500


def require_wandb() -> None:
    """Raise `UsageError` unless wandb is installed. Does not import it."""
    if importlib.util.find_spec("wandb") is None:
        raise UsageError("--to wandb needs wandb, which is not installed: pip install 'forge-tui[wandb]'")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A model's run that is there: its directory, and the epoch that was trained last of those in it."""

    directory: Path
    last: Mark
    phase: str


class WandbRuns:
    """Offline runs of W&B in an `OutputDirectory`, below `wandb/`.

    An offline run cannot be continued: where a model has new epochs that this process has not begun to write, or some
    are replaced, its run is written anew with the same id, so that it is uploaded to the same place, and the old one is
    deleted.
    """

    def __init__(self, output: OutputDirectory, project: str, info: RunInfo) -> None:
        self._output, self._project, self._info = output, project, info
        self._kept: dict[int, _Kept] = {}
        self._open: dict[int, wandb.Run] = {}
        self._last: dict[int, Mark] = {}
        # Models whose epochs wait for their end.
        self._waiting: dict[int, list[EpochFinished]] = {}
        self._models: dict[int, ModelState] = {}
        self._final: dict[int, dict[str, float]] = {}
        ids = {run_key(info, index): index for index in range(1, info.models + 1)}
        for directory in sorted((output.path / "wandb").glob("offline-run-*")):
            if (known := ids.get(directory.name.rpartition("-")[2])) is not None:
                self._find(directory, known)

    @property
    def place(self) -> str:
        """The directory."""
        return str(self._output.path)

    @property
    def hint(self) -> str:
        """How to look at it."""
        place = f"{shell_word(self.place)}/wandb"
        return f"`wandb leet {place}` shows them here, `wandb sync {place}/offline-run-*` uploads them"

    def marks(self, model: ModelState) -> Collection[Mark]:
        """As `Target.marks`."""
        kept = self._kept.get(model.index)
        # Nothing can be changed in one that is there: if the model has ended since, it is written anew.
        return (kept.last,) if kept is not None and kept.phase == model.phase.value else ()

    def can_add(self, model: ModelState) -> bool:
        """As `Target.can_add`."""
        return model.index not in self._kept

    def add(self, model: ModelState, epochs: Sequence[EpochFinished], last: Mark) -> None:
        """As `Target.add`."""
        self._models[model.index], self._last[model.index] = model, last
        if (run := self._open.get(model.index)) is not None:
            self._log(run, epochs)
        elif model.index in self._waiting or len(self._open) >= _MOST_OPEN:
            self._waiting.setdefault(model.index, []).extend(epochs)
        else:
            self._log(self._begin(model), epochs)

    def replace(self, model: ModelState, first: int, history: Sequence[EpochFinished], last: Mark) -> None:
        """As `Target.replace`."""
        self._waiting.pop(model.index, None)
        if model.index in self._open:
            self._finish(model.index)
        self._remove(model.index)
        self.add(model, history, last)

    def describe(self, snapshot: Snapshot, models: Sequence[ModelState]) -> None:
        """Finish the runs of models that have ended."""
        for model in models:
            if model.index in self._models:
                self._models[model.index] = model
                self._final[model.index] = final_values(snapshot, model)
        live = snapshot.state.is_live
        for index in [index for index, model in self._models.items() if model.phase.is_final or not live]:
            self._finish(index)

    def close(self) -> None:
        """Finish all runs."""
        try:
            for index in list(self._models):
                self._finish(index)
        finally:
            self._output.close()

    def _begin(self, model: ModelState) -> wandb.Run:
        """Open the model's run."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nothing is sent to its makers
        with _in_words():
            import wandb

            settings = {"seed": model.seed, **flat_settings(model.config), "forge_tui_run": self._info.run}
            run = wandb.init(
                project=self._project,
                name=model.name,
                id=run_key(self._info, model.index),
                group=self._info.run,
                config=settings,
                dir=self.place,
                mode="offline",
                reinit="create_new",
                settings=wandb.Settings(
                    console="off",
                    disable_code=True,
                    disable_git=True,
                    disable_job_creation=True,
                    quiet=True,
                    silent=True,
                    x_disable_machine_info=True,
                    x_disable_meta=True,
                    x_disable_stats=True,
                    x_save_requirements=False,
                ),
            )
        self._open[model.index] = run
        return run

    def _log(self, run: wandb.Run, epochs: Sequence[EpochFinished]) -> None:
        with _in_words():
            for epoch in epochs:
                values = {
                    name_for_wandb(name): value if math.isfinite(value) else math.nan
                    for name, value in values_of(epoch).items()
                    if value is not None
                }
                run.log({**values, "_timestamp": epoch.time}, step=epoch.epoch, commit=True)

    def _finish(self, index: int) -> None:
        """Finish a model's run with what is known at its end, and mark its directory."""
        model = self._models.pop(index)
        waiting = self._waiting.pop(index, None)
        if waiting is not None:
            self._log(self._begin(model), waiting)
        if (run := self._open.pop(index, None)) is None:
            return  # it could not be opened
        with _in_words():
            directory = Path(run.dir).parent
            found = {name_for_wandb(name): value for name, value in self._final.pop(index, {}).items()}
            run.summary.update({**found, "phase": model.phase.value, "best_epoch": model.best_epoch or model.epoch})
            run.tags = (*(run.tags or ()), model.phase.value)
            run.finish(exit_code=1 if model.phase is TrainingPhase.FAILED else 0)
        last, phase = self._last.pop(index), model.phase.value
        record = {"epoch": last.epoch, "time": last.time, "phase": phase}
        write_atomically(directory / _MARKER, json.dumps(record).encode(), 0o666)
        self._kept[index] = _Kept(directory, last, phase)

    def _find(self, directory: Path, index: int) -> None:
        """Take up a model's run that is there. Without our marker it was not finished: that export was killed."""
        try:
            found = parse_object(read_file(directory / _MARKER, STATE.size), STATE)
            last, phase = Mark(int(found["epoch"]), float(found["time"])), found["phase"]
        except (OSError, BadJson, KeyError, TypeError, ValueError):
            self._delete(directory)
            return
        if index in self._kept:  # the export was killed when it had written it anew, and not deleted it yet
            self._remove(index)
        self._kept[index] = _Kept(directory, last, str(phase))

    def _remove(self, index: int) -> None:
        """Delete a run that is there."""
        if (kept := self._kept.pop(index, None)) is not None:
            self._delete(kept.directory)

    def _delete(self, directory: Path) -> None:
        """Delete the directory of a run of ours."""
        try:
            shutil.rmtree(directory)
        except OSError as error:
            raise cannot_write(error, directory) from error


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Errors of W&B as `ForgeError`: there are many kinds of them."""
    try:
        yield
    except ForgeError:
        raise
    except Exception as error:
        raise ForgeError(f"W&B: {shortened(str(error) or type(error).__name__, _LONGEST_MESSAGE)}") from error
