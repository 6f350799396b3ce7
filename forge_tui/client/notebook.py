"""A run in a notebook: its state, a bar, and a table of its models."""

from __future__ import annotations

from forge_tui.analysis.ranking import best_so_far, ranked_models
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.text.config_tables import combination_text
from forge_tui.text.figures import UNKNOWN, best_text, duration, epoch_text, number, value_of
from forge_tui.text.markup import Markup, element

MOST_MODELS = 20
"""The rows of the table."""


def state_line(snapshot: Snapshot) -> str:
    """The state of a run in one line: `completed, 3 of 3 models completed, accuracy 0.9777 at best, took 0:12`."""
    counts = snapshot.counts
    active = sum(count for phase, count in counts.items() if phase.is_active)
    parts = [f"{snapshot.state}, {snapshot.completed} of {len(snapshot.models)} models completed"]
    parts += [f"{active} training"] if active else []
    parts += [f"{counts[phase]} {phase}" for phase in (TrainingPhase.QUEUED, TrainingPhase.FAILED) if counts[phase]]
    best = best_so_far(snapshot)
    parts += [f"{best_text(best)} at best"] if best is not None else []
    if snapshot.state.is_live:
        return ", ".join([*parts, f"ETA {duration(snapshot.eta_seconds)}"])
    return ", ".join([*parts, f"took {duration(snapshot.elapsed_seconds)}"])


def snapshot_html(snapshot: Snapshot) -> Markup:
    """The state of a run as HTML that needs no style of its own."""
    ranked = ranked_models(snapshot)
    metrics = snapshot.metrics.shown(model.metrics for model, _ in ranked)
    is_sweep = any(model.combination for model, _ in ranked)
    head = ["model", *(["config"] if is_sweep else []), "phase", "epoch", *(metric.short for metric in metrics)]
    rows = [
        element(
            "tr",
            element("th", model.name, scope="row"),
            element("td", combination_text(model.combination)) if is_sweep else None,
            element("td", model.phase.value),
            element("td", epoch_text(model.epoch, model.epochs)),
            *(
                element("td", number(value) if value is None else value_of(metric, value))
                for metric in metrics
                for value in [model.metrics.get(metric.name)]
            ),
        )
        for model, _ in ranked[:MOST_MODELS]
    ]
    left = len(ranked) - len(rows)
    percent = f"{snapshot.overall_percent:.0f}%"
    bar = element("progress", percent, max=100.0, value=snapshot.overall_percent)
    return element(
        "div",
        element("div", element("b", f"Run {snapshot.heading}"), f": {state_line(snapshot)}"),
        element("div", bar, f" {percent}") if snapshot.state.is_live else None,
        element(
            "table",
            element("thead", element("tr", *(element("th", text, scope="col") for text in head))),
            element("tbody", *rows),
        ),
        element("div", f"and {left:,} more models") if left > 0 else None,
    )


def problem_html(run: str, problem: Exception) -> Markup:
    """A run that cannot be read."""
    return element("div", element("b", f"Run {run}"), f": {problem or UNKNOWN}")
