"""The Python interface kept for existing code: `CognateCreator` and its function form."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from forge_tui import client
from forge_tui.errors import RunGone, TrainingFailed, UsageError
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.resources.manager import ResourceManager
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig

_MODELS = 3
_FOLLOW_SECONDS = 0.2
_LOG = logging.getLogger("forge_tui")

ProgressCallback = Callable[[dict[str, Any]], None]


class CognateCreator:
    """Trains three models that share one configuration and differ in seed.

    Training runs in separate processes: the caller's threads, random state and signals stay unchanged. If the caller
    is interrupted or dies, the run stops after a checkpoint.
    """

    def __init__(self, config: TrainingConfig | None = None, *, progress: bool = False) -> None:
        """With `progress`, training shows how far it is: in the cell of a notebook, else on stderr."""
        self.config = config if config is not None else TrainingConfig()
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._callback: ProgressCallback | None = None
        self._shows_progress = progress

    def create_three_models(self, save_dir: str | os.PathLike[str], training_mode: str | None = None) -> list[str]:
        """Train three models into `save_dir`; return their path stems (`STEM.json`, `STEM.safetensors`).

        `training_mode` ("series" or "parallel") overrides the configuration's. The files of an earlier run in
        `save_dir` move to `previous-N/`, and nothing else is touched. Raises `ValueError` for an unknown mode or an
        invalid setting, `OSError` for an unusable directory or if a foreign file has a name that this run needs,
        `TrainingFailed` if a model did not complete.
        """
        mode = self.config.training_mode if training_mode is None else training_mode
        if mode not in ("series", "parallel"):
            raise UsageError(f"training_mode = {mode!r}: must be 'series' or 'parallel'")
        if mode == "series":
            return self._create_models_series(save_dir)
        workers = self._detect_optimal_workers(self.config.max_parallel_workers)
        return self._create_models_parallel(save_dir, workers)

    def _create_models_series(self, save_dir: str | os.PathLike[str]) -> list[str]:
        """Train the three models one after another."""
        return self._create(save_dir, "series", self.config.max_parallel_workers)

    def _create_models_parallel(self, save_dir: str | os.PathLike[str], workers: int) -> list[str]:
        """Train the three models with at most `workers` at once, fewer where the resource rules say so."""
        return self._create(save_dir, "parallel", workers)

    def _detect_optimal_workers(self, requested: int) -> int:
        """How many of the requested workers the resource rules allow; logs the reason."""
        workers, reason = ResourceManager().validate_worker_count(requested)
        _LOG.info("%d of %d workers: %s", workers, requested, reason)
        return workers

    def set_progress_callback(self, callback: ProgressCallback | None) -> None:
        """Call `callback` with `get_training_progress()` whenever it changes, from one background thread."""
        self._callback = callback

    def get_training_progress(self) -> dict[str, Any]:
        """The progress of training; may be called from another thread at any time.

        `mode`, `overall_progress` (percent), `phase`, `completed_models`, `total_models`, `time_elapsed` and
        `estimated_remaining` (seconds, None while unknown), and `models`, one dict per model.
        """
        with self._lock:
            snapshot = self._snapshot
        if snapshot is None:
            return {
                "mode": self.config.training_mode,
                "overall_progress": 0.0,
                "phase": TrainingPhase.QUEUED.value,
                "completed_models": 0,
                "total_models": _MODELS,
                "time_elapsed": 0.0,
                "estimated_remaining": None,
                "models": [],
            }
        return {
            "mode": snapshot.run.mode,
            "overall_progress": snapshot.overall_percent,
            "phase": snapshot.state.value,
            "completed_models": snapshot.completed,
            "total_models": len(snapshot.models),
            "time_elapsed": snapshot.elapsed_seconds,
            "estimated_remaining": snapshot.eta_seconds,
            "models": [
                {
                    "name": model.name,
                    "phase": model.phase.value,
                    "epoch": model.epoch,
                    "total_epochs": model.epochs,
                    "progress": model.percent,
                    "loss": model.loss,
                    "validation_accuracy": model.metrics.get("validation_accuracy"),
                }
                for model in snapshot.models
            ],
        }

    def _create(self, save_dir: str | os.PathLike[str], mode: Literal["series", "parallel"], workers: int) -> list[str]:
        directory = os.fspath(save_dir)
        config = dataclasses.replace(self.config, training_mode=mode, max_parallel_workers=workers)
        settings = Settings(training=config, run=RunSettings(models=_MODELS, output=directory))
        with self._lock:
            self._snapshot = None
        with client.start(settings, previous="move") as run, self._display() as show:
            follower = threading.Thread(target=self._follow, args=(run, show), name="forge-tui progress", daemon=True)
            follower.start()
            try:
                snapshot = run.wait()
            except RunGone:  # the run ends by itself
                raise
            except BaseException:
                # Interrupted: closing the run (leaving the block) stops it after a checkpoint.
                _LOG.warning("interrupted: run %s stops after a checkpoint", run.id)
                raise
            follower.join()
            show(snapshot)
        with self._lock:
            self._snapshot = snapshot
        stems = [
            str(Path(directory) / model.name) for model in snapshot.models if model.phase is TrainingPhase.COMPLETED
        ]
        if snapshot.state is not RunState.COMPLETED:
            raise TrainingFailed(_why(snapshot), stems, snapshot.failures)
        return stems

    @contextlib.contextmanager
    def _display(self) -> Iterator[Callable[[Snapshot], None]]:
        """What shows a snapshot; nothing does without `progress`."""
        if not self._shows_progress:
            yield lambda snapshot: None
            return
        from forge_tui.compat.progress_display import progress_display

        with progress_display() as show:
            yield show

    def _follow(self, run: client.Run, show: Callable[[Snapshot], None]) -> None:
        with contextlib.suppress(RunGone):  # `wait` raises it, too
            for snapshot in run.follow(_FOLLOW_SECONDS):
                with self._lock:
                    self._snapshot = snapshot
                show(snapshot)
                callback = self._callback
                if callback is not None:
                    try:
                        callback(self.get_training_progress())
                    except Exception:  # the caller's code: its error must not end the run
                        _LOG.exception("the progress callback raised; training continues")


def _why(snapshot: Snapshot) -> str:
    """Why a run did not complete, the first cause first."""
    done = f"{snapshot.completed} of {len(snapshot.models)} models completed"
    ended = f"{done}; the run {snapshot.run.run} is {snapshot.state}"
    causes = "; ".join(f"{failure.model}: {failure.message}" for failure in snapshot.failures)
    reason = causes or snapshot.run.reason
    return f"{ended}: {reason}" if reason else ended


def create_cognate_models(
    save_dir: str | os.PathLike[str],
    training_mode: str = "series",
    max_parallel_workers: int = 3,
    config: TrainingConfig | None = None,
    **fields: Any,
) -> list[str]:
    """The function form of `CognateCreator(config).create_three_models(save_dir, training_mode)`.

    Further keyword arguments are fields of `TrainingConfig`, such as `epochs=50`.
    """
    base = config if config is not None else TrainingConfig()
    config = dataclasses.replace(base, max_parallel_workers=max_parallel_workers, **fields)
    return CognateCreator(config).create_three_models(save_dir, training_mode)
