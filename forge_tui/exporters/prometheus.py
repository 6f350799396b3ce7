"""The state of runs in Prometheus' text format (version 0.0.4): in base units, a bounded number of series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forge_tui.protocol.phases import RunState, TrainingPhase

if TYPE_CHECKING:
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.snapshot import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]
Sample = tuple[Labels, float]

_HELP = {
    "forge_run_info": "What a run is; always 1.",
    "forge_run_state": "1 for the state that a run is in, 0 for every other one.",
    "forge_run_models": "Models of a run by phase.",
    "forge_run_progress_ratio": "Share of the epochs of a run's models that are done, from 0 to 1.",
    "forge_run_elapsed_seconds": "How long a run has been training, without the time between an end and a resume.",
    "forge_run_eta_seconds": "Estimated time until a run's last model ends; missing while it is unknown.",
    "forge_run_heartbeat_age_seconds": "Time since the runner of a run without a recorded end has last written.",
    "forge_run_created_timestamp_seconds": "When a run was started.",
    "forge_run_finished_timestamp_seconds": "When a run ended.",
    "forge_run_failed_attempts_total": "Failed attempts at models of a run, also those that were tried again.",
    "forge_run_models_without_series": "Models of a run without metrics of their own: there are too many.",
    "forge_workers": "Workers that a run may use now.",
    "forge_workers_requested": "Workers that were asked for.",
    "forge_model_epoch": "Epochs that a model has done.",
    "forge_model_loss": "Training loss of a model's newest epoch; NaN if it diverged.",
    "forge_model_validation_loss": "Validation loss of a model's newest epoch.",
    "forge_model_eta_seconds": "Estimated time until a model ends; missing while it is unknown.",
    "forge_runs": "Runs that are shown.",
    "forge_runs_left_out": "Known runs that are not shown: there are too many.",
    "forge_runs_unreadable": "Runs that could not be read.",
}


@dataclass(frozen=True, slots=True)
class Overview:
    """What is shown: snapshots by the name of the run, how many runs are left out, and how many cannot be read."""

    runs: Sequence[tuple[str, Snapshot]]
    left_out: int = 0
    unreadable: int = 0


def metrics_text(overview: Overview, most_models: int) -> str:
    """All metrics; of each run at most `most_models` models have their own."""
    families: dict[str, list[Sample]] = {name: [] for name in _HELP}
    families["forge_runs"] = [((), float(len(overview.runs)))]
    families["forge_runs_left_out"] = [((), float(overview.left_out))]
    families["forge_runs_unreadable"] = [((), float(overview.unreadable))]
    for name, snapshot in overview.runs:
        shown = _shown(snapshot.models, most_models)
        for family, sample in (*_run(name, snapshot, len(shown)), *_models(name, shown)):
            families[family].append(sample)
    return "".join(_family(name, samples) for name, samples in families.items() if samples)


def _shown(models: Sequence[ModelState], most: int) -> list[ModelState]:
    """Models that workers are busy with, then the others in their order; returned in their order."""
    if len(models) <= most:
        return list(models)
    chosen = sorted(models, key=lambda model: not model.phase.is_active)[:most]
    return sorted(chosen, key=lambda model: model.index)


def _run(name: str, snapshot: Snapshot, shown: int) -> Iterator[tuple[str, Sample]]:
    info, state = snapshot.run, snapshot.state
    labels: Labels = (("run", name),)
    about = {
        "name": snapshot.label.name, "model_type": info.model_type, "mode": info.mode, "policy": info.policy,
        "host": info.host, "device": info.device, "version": info.version,
    }  # fmt: skip
    yield "forge_run_info", ((*labels, *about.items()), 1.0)
    for one in RunState:
        yield "forge_run_state", ((*labels, ("state", one.value)), float(one is state))
    for phase in TrainingPhase:
        yield "forge_run_models", ((*labels, ("phase", phase.value)), float(snapshot.counts[phase]))
    failures = sum(len(model.failures) for model in snapshot.models)
    values = {
        "forge_run_progress_ratio": snapshot.overall_percent / 100.0,
        "forge_run_elapsed_seconds": snapshot.elapsed_seconds,
        "forge_run_eta_seconds": snapshot.eta_seconds,
        "forge_run_heartbeat_age_seconds": snapshot.age if state.is_live or state is RunState.DIED else None,
        "forge_run_created_timestamp_seconds": info.created,
        "forge_run_finished_timestamp_seconds": info.finished,
        "forge_run_failed_attempts_total": float(failures),
        "forge_run_models_without_series": float(len(snapshot.models) - shown),
        "forge_workers": float(info.workers),
        "forge_workers_requested": float(info.requested),
    }
    for family, value in values.items():
        if value is not None:
            yield family, (labels, value)


def _models(name: str, models: Iterable[ModelState]) -> Iterator[tuple[str, Sample]]:
    for model in models:
        values = {
            "forge_model_epoch": float(model.epoch),
            "forge_model_loss": math.nan if model.diverged else model.loss,
            "forge_model_validation_loss": model.validation_loss,
            "forge_model_eta_seconds": model.eta_seconds,
        }
        for family, value in values.items():
            if value is not None:
                yield family, ((("run", name), ("model", model.name)), value)


def _family(name: str, samples: Iterable[Sample]) -> str:
    kind = "counter" if name.endswith("_total") else "gauge"
    lines = [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        lines.append(f"{name}{{{told}}} {_number(value)}" if told else f"{name} {_number(value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value))


def _escaped(text: str) -> str:
    """A label's value: any UTF-8, of which three characters are escaped."""
    plain = text.encode("utf-8", "replace").decode()
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
