"""The report of a run in every form that is one document, for the command line and the UI."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forge_tui.analysis.configs import config_results
from forge_tui.analysis.ranking import best_model
from forge_tui.client.details import read_details
from forge_tui.client.frames import EPOCH_COLUMNS, metric_column
from forge_tui.errors import ForgeError
from forge_tui.protocol.energy import Energy
from forge_tui.protocol.events import finite
from forge_tui.protocol.metrics import TEST, old_keys
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.reports.gpu_lines import gpu_lines, samples_in
from forge_tui.safe_io.printing import Writable, named, printable
from forge_tui.safe_io.read_only import refuse_if_read_only
from forge_tui.text.baseline_lines import baseline_lines
from forge_tui.text.config_tables import combination_text, configs_record, configs_table, importance_line, ranked_by
from forge_tui.text.detail_lines import confusion_lines, worst_lines
from forge_tui.text.energy_lines import energy_lines
from forge_tui.text.figures import (
    UNKNOWN,
    best_text,
    duration,
    epoch_text,
    epochs_text,
    headline_text,
    memory,
    number,
    table,
)

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.events import EpochFinished

TextFormat = Literal["text", "json", "csv", "html"]
ReportFormat = Literal["text", "json", "csv", "html", "svg", "png"]
FORMATS: tuple[ReportFormat, ...] = ("text", "json", "csv", "html", "svg", "png")
_WORST = 10
REMARKABLE = ("worker_limit", "decision", "resource_warning", "model_failed", "model_retried", "command")
"""The events that reports list."""


def write_report(run: Run, form: TextFormat, out: Writable) -> None:
    """Write a report to `out`: `text` a summary, `json` everything, `csv` every epoch of every model, `html` a page.

    Raises `RunDirectoryError` if the run cannot be read.
    """
    snapshot = run.snapshot()
    match form:
        case "csv":
            _write_csv(run, snapshot, out)
        case "json":
            out.write(json.dumps(_record(run, snapshot)) + "\n")
        case "text":
            out.write(_text(run, snapshot))
        case "html":
            from forge_tui.reports.page.document import write_page

            write_page(run, snapshot, out)


def report_bytes(run: Run, form: ReportFormat, metrics: Sequence[str] = ()) -> bytes:
    """A report as the bytes of a file. `metrics`: those of a picture of curves (`svg`, `png`).

    Raises `RunDirectoryError` if the run cannot be read, `UsageError` as `run_picture`.
    """
    if form == "svg" or form == "png":
        from forge_tui.reports.pictures.run_picture import run_picture

        return run_picture(run, form, metrics)
    content = io.StringIO(newline="")
    write_report(run, form, content)
    return content.getvalue().encode("utf-8", "replace")


def export_report(run: Run, form: ReportFormat, directory: Path, metrics: Sequence[str] = ()) -> Path:
    """Write a report to a new file in `directory`, such as `20261123-150210-planner-report.csv`; returns its path.

    Nothing is overwritten: `-2`, `-3`, … is added if the name is taken. Raises `ForgeError` if no file can be made,
    and as `report_bytes`.
    """
    refuse_if_read_only("write a report")
    stem = report_stem(run.id)
    content = report_bytes(run, form, metrics)
    count = 1
    while True:
        path = directory / f"{stem}-report{f'-{count}' if count > 1 else ''}.{'txt' if form == 'text' else form}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            return path
        except FileExistsError:
            count += 1
        except OSError as error:
            raise ForgeError(
                f"cannot write {named(path)}: {error.strerror}; use `forge-tui report {run.id} --format {form}` "
                "from a directory of your own"
            ) from error


def report_stem(run: str) -> str:
    """The stem of an exported file's name: the run's id, without characters that some file systems refuse."""
    return (re.sub(r"[^\w.-]+", "_", run).strip("_.") or "run")[:200]


def result_table(snapshot: Snapshot) -> str:
    """The final table: one line per model, with its metrics and path; for a sweep also one line per config."""
    results = config_results(snapshot)
    swept = results is not None
    rows = [
        (
            model.name,
            *((combination_text(model.combination),) if swept else ()),
            model.phase.value,
            epoch_text(model.epoch, model.epochs),
            "diverged" if model.diverged else number(model.loss),
            number(model.metrics.get("validation_loss")),
            headline_text(model.metrics, snapshot.metrics) or UNKNOWN,
            model.path or (model.error.message if model.error else _ended(model)) or UNKNOWN,
        )
        for model in snapshot.models
    ]
    config = ("CONFIG",) if swept else ()
    found = table(("MODEL", *config, "PHASE", "EPOCH", "LOSS", "VAL LOSS", "METRIC", "PATH OR REASON"), rows)
    if results is not None:
        found += f"\n{configs_table(results)}{ranked_by(results)}\n"
        if what_mattered := importance_line(results):
            found += f"{what_mattered}\n"
    return found


def best_line(snapshot: Snapshot) -> str:
    """A line with the best of several completed models and why; empty if there is no choice."""
    best = best_model(snapshot) if snapshot.completed > 1 else None
    return "" if best is None else f"best of the completed models: {printable(best.model.name)}, {best_text(best)}\n"


def _ended(model: ModelState) -> str | None:
    """Why a model was cancelled."""
    return model.reason if model.phase is TrainingPhase.CANCELLED else None


def status_record(snapshot: Snapshot) -> dict[str, Any]:
    """A JSON-able dict of the snapshot, with `best`: the best of the completed models, or None."""
    best = best_model(snapshot)
    return {**snapshot.to_record(), "best": None if best is None else best.to_record()}


def _record(run: Run, snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot, the epochs of every model, and the events that explain what happened."""
    record = status_record(snapshot)
    for model, history in zip(record["models"], run.histories(snapshot.models), strict=True):
        model["history"] = [finite(_fields(epoch)) for epoch in history]
        is_done = model["phase"] == TrainingPhase.COMPLETED
        model["details"] = read_details(run.directory, model["name"]).to_record() if is_done else None
    results = config_results(snapshot)
    record["configs"] = None if results is None else configs_record(results)
    record["events"] = _remarkable(run)
    record["resources"] = run.resources()
    return record


def _remarkable(run: Run) -> list[dict[str, Any]]:
    return run.events_of(REMARKABLE)


def epoch_values(epoch: EpochFinished) -> dict[str, float | None]:
    """The values of an epoch by column name."""
    return {**epoch.metrics, "best_loss": epoch.best_loss, "seconds": epoch.seconds}


def _fields(epoch: EpochFinished) -> dict[str, Any]:
    fields = {field.name: getattr(epoch, field.name) for field in dataclasses.fields(epoch)}
    return {**fields, **old_keys(epoch.metrics)}


def _write_csv(run: Run, snapshot: Snapshot, out: Writable) -> None:
    writer = csv.writer(out)
    names = metric_columns(snapshot)
    writer.writerow((*EPOCH_COLUMNS, *(metric_column(name, EPOCH_COLUMNS) for name in names)))
    for history in run.histories(snapshot.models):
        for epoch in history:
            values = (*(getattr(epoch, column) for column in EPOCH_COLUMNS), *map(epoch.metrics.get, names))
            writer.writerow(["" if value is None else value for value in values])


def metric_columns(snapshot: Snapshot) -> list[str]:
    """The metrics that any model of a run has recorded in its epochs, and always those of older reports."""
    recorded = (name for model in snapshot.models for name in model.metrics if not name.startswith(TEST))
    declared = (name for record in snapshot.run.metrics if isinstance(name := record.get("name"), str))
    return [metric.name for metric in snapshot.metrics.ordered((*old_keys({}), *declared, *recorded))]


def _text(run: Run, snapshot: Snapshot) -> str:
    info, samples = snapshot.run, run.resources()
    lines = [
        f"Run {snapshot.heading}: {snapshot.state}" + (f" ({info.reason})" if info.reason else ""),
        *([f"Note: {snapshot.label.note}"] if snapshot.label.note else []),
        f"{len(snapshot.models)} {info.model_type} models{epochs_text(info.epochs)}, {info.mode}, policy {info.policy}",
        f"Workers {info.workers} of {info.requested}, {info.threads} thread{'s' if info.threads > 1 else ''} each: "
        f"{info.limit_reason}",
        f"Took {duration(snapshot.elapsed_seconds)}; directory {info.path}",
        *_machine_lines(samples),
        *gpu_lines(samples, snapshot.models),
        *energy_lines(Energy.from_record(info.energy)),
        "",
    ]
    text = "".join(printable(line) + "\n" for line in lines) + result_table(snapshot)
    text += best_line(snapshot) + baseline_lines(snapshot) + _details(run, snapshot)
    for record in _remarkable(run):
        if record["event"] == "model_failed":
            failed = f"{record['model']} attempt {record['attempt']} failed ({record['kind']}): {record['message']}"
            text += printable(failed) + "\n"
        elif record["event"] == "resource_warning":
            text += printable(f"warning: {record['message']}") + "\n"
        elif record["event"] == "decision" and record["kind"] not in ("plan", "threads"):
            text += printable(f"{record['kind']}: {record['reason']}") + "\n"
    return text


def _details(run: Run, snapshot: Snapshot) -> str:
    """Where the best of the completed models errs."""
    best = best_model(snapshot)
    if best is None:
        return ""
    found, name = read_details(run.directory, best.model.name), best.model.name
    lines = []
    if found.confusion is not None:
        lines += ["", f"Confusion of {name} ({found.split} split):", *confusion_lines(found.confusion)]
    if found.worst:
        lines += ["", f"Worst rows of {name} ({found.split} split):", *worst_lines(found.worst)[:_WORST]]
    return "".join(f"{printable(line)}\n" for line in [*lines, ""]) if lines else ""


def _machine_lines(samples: list[dict[str, Any]]) -> list[str]:
    """The machine's load during the run, from the samples recorded with it."""
    if not samples:
        return []

    def values(name: str) -> list[float]:
        return [sample[name] for sample in samples if isinstance(sample.get(name), int | float)]

    def mean(name: str) -> str:
        weights = [samples_in(sample) for sample in samples if isinstance(sample.get(name), int | float)]
        return f"{statistics.fmean(values(name), weights):.0f} %" if weights else UNKNOWN

    return [
        f"Machine: CPU {mean('cpu_percent')} busy, {mean('others_cpu_percent')} with others' work; memory at most "
        f"{memory(max(values('memory_used'), default=None))} of {memory(max(values('memory_limit'), default=None))}, "
        f"workers at most {memory(max(values('own_memory'), default=None))} beyond what they share"
    ]
