"""The ensemble of a run's models: as one module, and evaluated beside the single models."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_tui import client
from forge_tui.analysis.ranking import require_completed
from forge_tui.protocol.events import finite
from forge_tui.protocol.metrics import Metrics, MetricTable
from forge_tui.protocol.run_data import recorded_data
from forge_tui.runs.moved import found_again
from forge_tui.settings.files import read_settings
from forge_tui.text.figures import number, table

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.training.ensemble import EnsembleFigures, TrainedEnsemble


def load_ensemble(
    run: str | os.PathLike[str], models: Sequence[str | int] | None = None, trust_code: bool = False
) -> TrainedEnsemble:
    """The mean prediction of a run's models as one `nn.Module`, in eval mode on the CPU.

    `run` is a run directory or a run id, `models` names or numbers (1…N); by default all completed ones. The module
    takes raw features or tokens, as those of `load_model`. Classes and tokens: it returns the logarithm of the models'
    mean probabilities, (N, classes) or (N, T, vocabulary), for use as logits: `softmax` gives the mean.
    Regression: the mean prediction, (N, targets). It predicts for tables and arrays, too, as `Predicts` says.
    `trust_code`: as for `load_model`. Raises `UsageError` for a run or model that does not exist, `ForgeError` if none
    is completed, and the errors of `load_model`.
    """
    with client.attach(run) as attached:
        stems = [attached.directory.stem(model.name) for model in _chosen(attached, models)]
    from forge_tui.training.ensemble import load_members

    return load_members(stems, trust_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleReport:
    """Validation metrics of a run's completed models and of their ensemble."""

    run: str
    models: tuple[ModelState, ...]
    measured: EnsembleFigures

    def changed(self) -> list[tuple[str, str]]:
        """Names of models that were trained on other data, and how it differs."""
        each = zip(self.models, self.measured.changed, strict=True)
        return [(model.name, change) for model, change in each if change is not None]

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of it."""
        about = [{"name": model.name, "index": model.index} for model in self.models]
        figures = [_figures(metrics) for metrics in self.measured.members]
        mean = {name: _mean([one[name] for one in figures]) for name in figures[0]}
        record: dict[str, Any] = finite(
            {
                "run": self.run,
                "task": self.measured.task,
                "validation_samples": self.measured.validation_samples,
                "models": [one | values for one, values in zip(about, figures, strict=True)],
                "mean": mean,
                "ensemble": _figures(self.measured.ensemble),
            }
        )
        return record

    def to_text(self) -> str:
        """A table: one line per model, their mean, and the ensemble."""
        record = self.to_record()
        lines = [
            *((one["name"], one) for one in record["models"]),
            (f"mean of {len(self.models)}", record["mean"]),
            ("ensemble", record["ensemble"]),
        ]
        metrics = MetricTable().ordered(self.measured.ensemble)
        rows = [(name, *(number(figures.get(metric.name)) for metric in metrics)) for name, figures in lines]
        return table(("MODEL", *(metric.short.upper() for metric in metrics)), rows)


def measure_ensemble(run: Run, trust_code: bool = False) -> EnsembleReport:
    """Evaluate a run's completed models and their ensemble on its validation split.

    `trust_code`: as for `load_model`, for custom data too. Raises `ForgeError` if no model is completed, `DataError` if
    the data cannot be read or has no validation split, and the errors of `load_model`.
    """
    snapshot, models = run.snapshot(), tuple(_chosen(run, None))
    from forge_tui.training.ensemble import measure_members

    stems = [run.directory.stem(model.name) for model in models]
    recorded = recorded_data(snapshot.run)
    known = () if recorded is None else recorded.all()
    now = found_again(snapshot.run, read_settings(run.directory.settings), run.path, Path.cwd())
    found = measure_members(stems, Path(now.working_directory), known, trust_code=trust_code, moved=now.moved)
    return EnsembleReport(run=run.id, models=models, measured=found)


def _chosen(run: Run, models: Sequence[str | int] | None) -> list[ModelState]:
    if models is None:
        return list(require_completed(run.id, run.snapshot()))
    chosen = {found.index: found for found in (run.model_named(model) for model in models)}
    return [chosen[index] for index in sorted(chosen)]


def _figures(metrics: Metrics) -> Metrics:
    """The metrics of a model; those with older keys are always present."""
    return {**dict.fromkeys(("validation_loss", "validation_accuracy", "validation_perplexity")), **metrics}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None
