"""The head of a page and its results: what the run was, its best model, and all models."""

from __future__ import annotations

import time
from collections.abc import Sequence

from forge_tui.analysis.ranking import best_model, ranked_models
from forge_tui.protocol.metrics import Metric
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.reports.curve_sets import choice_words, spread_choice
from forge_tui.reports.page.tables import Cell, Section, data_table, facts, number_cell, paragraphs, section
from forge_tui.text.baseline_lines import baseline_lines
from forge_tui.text.config_tables import combination_text
from forge_tui.text.figures import UNKNOWN, best_text, duration, epoch_text, epochs_text, number, value_of
from forge_tui.text.markup import Markup, element

MOST_ROWS = 300
"""The models of the table."""


def heading(snapshot: Snapshot) -> Markup:
    """Name and state of the run, and the facts about it."""
    info = snapshot.run
    state = snapshot.state.value
    reason = f" ({info.reason})" if info.reason else ""
    models = f"{len(snapshot.models):,}, {info.model_type}{epochs_text(info.epochs)}"
    done = [f"{snapshot.completed:,} completed"]
    done += [f"{snapshot.failed:,} failed"] if snapshot.failed else []
    done += [f"{snapshot.pruned:,} pruned"] if snapshot.pruned else []
    workers = f"{info.workers} of {info.requested}, {info.threads} thread{'s' if info.threads > 1 else ''} each"
    pairs = [
        ("Models", models),
        ("Done", ", ".join(done)),
        ("Mode", f"{info.mode}, policy {info.policy}"),
        ("Workers", f"{workers}: {info.limit_reason}" if info.limit_reason else workers),
        ("Took", duration(snapshot.elapsed_seconds)),
        ("Started", UNKNOWN if info.started is None else moment(info.started)),
        ("Host", info.host or UNKNOWN),
        ("Directory", info.path),
        *([("Note", snapshot.label.note)] if snapshot.label.note else []),
    ]
    return element(
        "header",
        element("h1", f"Run {snapshot.heading} ", element("span", f"{state}{reason}", class_=f"state {state}")),
        facts(pairs),
    )


def moment(seconds: float) -> str:
    """A time (UNIX seconds) with its zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))


def results(snapshot: Snapshot) -> Section:
    """The best model, the baseline, and a table of the models, the best first."""
    best = best_model(snapshot)
    lines = []
    if best is not None:
        config = combination_text(best.model.combination)
        lines.append(
            f"Best of the completed models: {best.model.name}{f' ({config})' if config else ''}, {best_text(best)}"
        )
    lines += baseline_lines(snapshot).splitlines()
    ranked = ranked_models(snapshot)
    chosen = _chosen(ranked)
    notes = []
    if len(chosen) < len(ranked):
        notes.append(f"Of {len(ranked):,} models {choice_words(MOST_ROWS)} are in the table.")
    metrics = snapshot.metrics.shown(model.metrics for model, _ in chosen)
    return section(
        "results", "Results", paragraphs(lines), _table(snapshot, chosen, metrics), paragraphs(notes, "note")
    )


def _chosen(ranked: Sequence[tuple[ModelState, int | None]]) -> list[tuple[ModelState, int | None]]:
    return [ranked[place] for place in spread_choice(len(ranked), MOST_ROWS)]


def _table(snapshot: Snapshot, models: Sequence[tuple[ModelState, int | None]], metrics: Sequence[Metric]) -> Markup:
    is_sweep = any(model.combination for model, _ in models)
    head = ["Model", *(["Config"] if is_sweep else []), "Rank", "Phase", "Epochs", "Seed"]
    head += [*(metric.title for metric in metrics), "Time"]
    rows: list[list[Cell | str]] = []
    for model, rank in models:
        took = model.took(snapshot.elapsed_seconds, snapshot.time)
        config = combination_text(model.combination)
        rows.append(
            [
                model.name,
                *([Cell(config, classes="config")] if is_sweep else []),
                number_cell(UNKNOWN if rank is None else str(rank), rank),
                Cell(model.phase.value, classes=f"phase-{model.phase.value}"),
                number_cell(epoch_text(model.epoch, model.epochs), model.epoch),
                number_cell(str(model.seed), model.seed),
                *(_figure(metric, model.metrics.get(metric.name)) for metric in metrics),
                number_cell(duration(took), took),
            ]
        )
    return data_table("Models, the best first", head, rows, sortable=True)


def _figure(metric: Metric, value: float | None) -> Cell:
    return number_cell(number(value) if value is None else value_of(metric, value), value)
