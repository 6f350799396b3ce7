"""A run in MLflow: an MLflow run per model, below one for the whole."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from forge_tui.errors import ForgeError, UsageError
from forge_tui.exporters.courses import Mark
from forge_tui.exporters.holding import Hold
from forge_tui.exporters.names import flat_settings, name_for_mlflow, run_key
from forge_tui.exporters.target import final_values, values_of
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.safe_io.printing import named, shell_word, shortened

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

    from forge_tui.protocol.events import EpochFinished
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.run_info import RunInfo
    from forge_tui.protocol.snapshot import Snapshot

_VARIABLE = "MLFLOW_TRACKING_URI"
# Nothing is sent to its makers; a line per run on stdout is for nobody; a server that is not there is an error after a
# quarter of a minute, not after four minutes.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}
# Limits of MLflow: numbers in a request, and the length of a parameter and of a tag (characters).
_MOST_METRICS, _MOST_PARAMETERS = 1_000, 100
_LONGEST_PARAMETER, _LONGEST_TAG = 6_000, 5_000
_KEY, _INDEX, _LAST_EPOCH, _LAST_TIME = (
    "forge_tui.key", "forge_tui.index", "forge_tui.last_epoch", "forge_tui.last_time",
)  # fmt: skip
_PARENT = "mlflow.parentRunId"
_LONGEST_MESSAGE = 500
_STATUS = {
    TrainingPhase.QUEUED: "SCHEDULED",
    TrainingPhase.COMPLETED: "FINISHED",
    TrainingPhase.FAILED: "FAILED",
    TrainingPhase.CANCELLED: "KILLED",
}
_RUN_STATUS = {
    RunState.QUEUED: "SCHEDULED",
    RunState.COMPLETED: "FINISHED",
    RunState.FAILED: "FAILED",
    RunState.STOPPED: "KILLED",
    RunState.KILLED: "KILLED",
    RunState.DIED: "KILLED",
}


def require_mlflow() -> None:
    """Raise `UsageError` unless MLflow is installed. Does not import it."""
    if importlib.util.find_spec("mlflow") is None:
        raise UsageError("--to mlflow needs MLflow, which is not installed: pip install 'forge-tui[mlflow]'")


def tracking_uri(output: str | None) -> str:
    """The tracking URI: `output` (a URI, or a SQLite file), else `MLFLOW_TRACKING_URI`, else `mlflow.db` here."""
    if output is None and (known := os.environ.get(_VARIABLE)):
        return known
    if output is not None and "://" in output:
        return output
    path = Path(output or "mlflow.db").expanduser().absolute()
    if not path.parent.is_dir():
        raise UsageError(f"--output {named(path)}: there is no directory {named(path.parent)}")
    return f"sqlite:///{path}"


class MlflowStore:
    """The MLflow runs of a run and its models, in an experiment.

    MLflow deletes no single number: where epochs are replaced, the model gets a new MLflow run, and the old one is
    deleted (MLflow keeps deleted runs until `mlflow gc`).
    """

    def __init__(self, uri: str, experiment: str, info: RunInfo) -> None:
        """Raises `ForgeError` if MLflow cannot be reached, or another export is writing this run there."""
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._uri, self._info, self._key = uri, info, run_key(info)
        self._hold = Hold(f"{uri} {experiment} {self._key}", f"this run to {self.place}")
        try:
            with self._in_words():
                from mlflow import MlflowClient

                for noisy in ("mlflow", "alembic"):  # its own import sets these
                    logging.getLogger(noisy).setLevel(logging.WARNING)
                self._client: MlflowClient = MlflowClient(uri)
                found = self._client.get_experiment_by_name(experiment)
                self._experiment: str = (
                    self._client.create_experiment(experiment) if found is None else found.experiment_id
                )
                self._parent, self._runs = self._find()
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        """The URI, without a password."""
        netloc = urlsplit(self._uri).netloc
        return self._uri.replace(netloc, netloc.rpartition("@")[2], 1) if "@" in netloc else self._uri

    @property
    def hint(self) -> str:
        """How to look at it."""
        if urlsplit(self._uri).scheme in ("http", "https"):
            return "the page of that server shows it"
        return f"`mlflow ui --backend-store-uri {shell_word(self.place)}` shows it"

    def marks(self, model: ModelState) -> Collection[Mark]:
        """As `Target.marks`."""
        tags = self._runs[model.index].data.tags if model.index in self._runs else {}
        try:
            return (Mark(int(tags[_LAST_EPOCH]), float(tags[_LAST_TIME])),)
        except (KeyError, ValueError):
            return ()

    def can_add(self, model: ModelState) -> bool:
        """As `Target.can_add`."""
        return True

    def add(self, model: ModelState, epochs: Sequence[EpochFinished], last: Mark) -> None:
        """As `Target.add`."""
        from mlflow.entities import RunTag

        metrics = [metric for epoch in epochs for metric in _metrics(epoch)]
        with self._in_words():
            run = self._run_of(model)
            while len(metrics) > _MOST_METRICS:
                self._client.log_batch(run.info.run_id, metrics=metrics[:_MOST_METRICS])
                metrics = metrics[_MOST_METRICS:]
            # The tags go last: what a killed export has written without them is written again, and MLflow drops a
            # number that it has with the same time.
            tags = {_LAST_EPOCH: str(last.epoch), _LAST_TIME: repr(last.time)}
            self._client.log_batch(
                run.info.run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()]
            )
            run.data.tags.update(tags)

    def replace(self, model: ModelState, first: int, history: Sequence[EpochFinished], last: Mark) -> None:
        """As `Target.replace`."""
        with self._in_words():
            if (run := self._runs.pop(model.index, None)) is not None:
                self._client.delete_run(run.info.run_id)
        self.add(model, history, last)

    def describe(self, snapshot: Snapshot, models: Sequence[ModelState]) -> None:
        """Write the status and the tags of what has changed."""
        with self._in_words():
            info, live = snapshot.run, snapshot.state.is_live
            parent = self._whole_run()
            tags = {"state": snapshot.state.value, "mode": info.mode, "model_type": info.model_type, "host": info.host,
                    "forge_tui.path": info.path, "forge_tui.version": info.version}  # fmt: skip
            tags |= {"forge_tui.name": snapshot.label.name, "mlflow.note.content": snapshot.label.note}
            self._tag(parent, {name: value for name, value in tags.items() if value})
            self._end(parent, _RUN_STATUS.get(snapshot.state, "RUNNING"), None if live else info.finished)
            for model in models:
                if model.phase is not TrainingPhase.QUEUED or model.index in self._runs:
                    self._describe(snapshot, model)

    def close(self) -> None:
        """As `Target.close`."""
        self._hold.release()

    def _describe(self, snapshot: Snapshot, model: ModelState) -> None:
        from mlflow.entities import Metric

        run = self._run_of(model)
        tags = {"phase": model.phase.value, "attempt": str(model.attempt), "seed": str(model.seed)}
        for name, value in (("device", model.device), ("forge_tui.model_path", model.path), ("reason", model.reason)):
            if value:
                tags[name] = value
        if model.error is not None:
            tags["error"] = f"{model.error.kind}: {model.error.message}"
        if model.best_epoch is not None:
            tags["best_epoch"] = str(model.best_epoch)
        values = final_values(snapshot, model)
        if values and run.data.tags.get("phase") != tags["phase"]:
            when, step = _milliseconds(model.finished or 0.0), model.best_epoch or model.epoch
            metrics = [Metric(name_for_mlflow(name), value, when, step) for name, value in values.items()]
            self._client.log_batch(run.info.run_id, metrics=metrics)
        self._tag(run, tags)
        status = _STATUS.get(model.phase, "RUNNING" if snapshot.state.is_live else "KILLED")
        self._end(run, status, model.finished if model.phase.is_final else None)

    def _end(self, run: Run, status: str, when: float | None) -> None:
        """Write a status that has changed; `when` it ended (UNIX seconds)."""
        if run.info.status == status:
            return
        if status in ("FINISHED", "FAILED", "KILLED"):
            self._client.set_terminated(run.info.run_id, status, None if when is None else _milliseconds(when))
        else:
            self._client.update_run(run.info.run_id, status)
        run.info._status = status

    def _tag(self, run: Run, tags: dict[str, str]) -> None:
        """Write tags that have changed."""
        from mlflow.entities import RunTag

        cut = {name: shortened(value, _LONGEST_TAG - 100) for name, value in tags.items()}
        changed = {name: value for name, value in cut.items() if run.data.tags.get(name) != value}
        if changed:
            self._client.log_batch(run.info.run_id, tags=[RunTag(name, value) for name, value in changed.items()])
            run.data.tags.update(changed)

    def _find(self) -> tuple[Run | None, dict[int, Run]]:
        """The MLflow runs that are there: of the run, and of its models by index."""
        parent, models, token = None, {}, None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{_KEY}` = '{self._key}'", max_results=1_000, page_token=token
            )
            for run in page:
                index = run.data.tags.get(_INDEX)
                if index is None:
                    parent = run
                elif index.isdecimal():
                    models[int(index)] = run
            token = page.token
            if not token:
                return parent, models

    def _whole_run(self) -> Run:
        """The MLflow run of the run, made if missing."""
        if self._parent is None:
            tags = {_KEY: self._key, "mlflow.source.name": "forge-tui", "forge_tui.run": self._info.run}
            if self._info.user:
                tags["mlflow.user"] = self._info.user
            self._parent = self._client.create_run(
                self._experiment, _milliseconds(self._info.created), tags, self._info.run
            )
        return self._parent

    def _run_of(self, model: ModelState) -> Run:
        """The MLflow run of a model, made with its settings if missing."""
        from mlflow.entities import Param

        found = self._runs.get(model.index)
        if found is not None:
            return found
        begun = self._info.created if model.started is None else model.started
        tags = {
            _KEY: self._key, _INDEX: str(model.index), _PARENT: self._whole_run().info.run_id,
            "mlflow.source.name": "forge-tui", "forge_tui.run": self._info.run,
        }  # fmt: skip
        found = self._client.create_run(self._experiment, _milliseconds(begun), tags, model.name)
        self._runs[model.index] = found
        settings = {"seed": model.seed, **flat_settings(model.config)}
        parameters = [
            Param(name_for_mlflow(name), shortened(str(value), _LONGEST_PARAMETER - 100))
            for name, value in settings.items()
        ]
        for start in range(0, len(parameters), _MOST_PARAMETERS):
            self._client.log_batch(found.info.run_id, params=parameters[start : start + _MOST_PARAMETERS])
        return found

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        """Errors of MLflow, of its database and of its server as `ForgeError`: there are many kinds of them."""
        try:
            yield
        except ForgeError:
            raise
        except Exception as error:
            words = shortened(str(error) or type(error).__name__, _LONGEST_MESSAGE)
            raise ForgeError(f"MLflow at {self.place}: {words}") from error


def _metrics(epoch: EpochFinished) -> list[Metric]:
    """An epoch as MLflow has it. Its SQLite store makes another number of infinity: NaN stands for both."""
    from mlflow.entities import Metric

    when = _milliseconds(epoch.time)
    return [
        Metric(name_for_mlflow(name), value if math.isfinite(value) else math.nan, when, epoch.epoch)
        for name, value in values_of(epoch).items()
        if value is not None
    ]


def _milliseconds(when: float) -> int:
    return round(when * 1000)
