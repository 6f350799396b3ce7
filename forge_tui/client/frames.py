"""A run as polars frames: a row per model, and a row per epoch of each model."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from forge_tui.protocol.metrics import TEST
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.text.config_tables import value_text

if TYPE_CHECKING:
    import polars

    from forge_tui.protocol.events import EpochFinished

EPOCH_COLUMNS = ("model", "index", "attempt", "epoch", "step", "time", "best_loss", "seconds")
"""The columns of epochs before those of the metrics."""
METRIC = "metric."
"""How the column of a metric begins that is named as a column that is there anyway."""
CONFIG = "config."
"""How the columns of swept settings begin: a metric may have the same name, as `learning_rate` has."""


MODEL_COLUMNS = (
    "model", "index", "seed", "phase", "epoch", "epochs", "best_epoch", "best_loss", "seconds", "parameters", "attempt",
    "exact", "error", "path",
)  # fmt: skip
"""The columns of models beside swept settings and metrics."""


def metric_column(name: str, taken: Collection[str]) -> str:
    """The column of a metric beside those of the names `taken`: its name, or with `METRIC` before it."""
    return f"{METRIC}{name}" if name in taken or name.startswith((METRIC, CONFIG)) else name


def models_frame(snapshot: Snapshot) -> polars.DataFrame:
    """A row per model, in the order of their indices; of a search with the `value` that it took of each."""
    import polars

    models = snapshot.models
    keys = dict.fromkeys(key for model in models for key in model.combination)
    names = dict.fromkeys(name for model in models for name in model.metrics)
    is_search = snapshot.run.search != "none"
    took = [model.took(snapshot.elapsed_seconds, snapshot.time) for model in models]
    columns = [
        polars.Series("model", [model.name for model in models], polars.String),
        polars.Series("index", [model.index for model in models], polars.Int64),
        polars.Series("seed", [model.seed for model in models], polars.Int64),
        polars.Series("phase", [model.phase.value for model in models], polars.String),
        polars.Series("epoch", [model.epoch for model in models], polars.Int64),
        polars.Series("epochs", [model.epochs for model in models], polars.Int64),
        polars.Series("best_epoch", [model.best_epoch for model in models], polars.Int64),
        *(_config_column(key, models) for key in keys),
        *(
            polars.Series(
                metric_column(metric.name, MODEL_COLUMNS),
                [model.metrics.get(metric.name) for model in models],
                polars.Float64,
            )
            for metric in snapshot.metrics.ordered(names)
        ),
        *([polars.Series("value", [model.value for model in models], polars.Float64)] if is_search else []),
        polars.Series("best_loss", [model.best_loss for model in models], polars.Float64),
        polars.Series("seconds", took, polars.Float64),
        polars.Series("parameters", [model.parameters for model in models], polars.Int64),
        polars.Series("attempt", [model.attempt for model in models], polars.Int64),
        polars.Series("exact", [model.exact for model in models], polars.Boolean),
        polars.Series("error", [model.error.message if model.error else None for model in models], polars.String),
        polars.Series("path", [model.path for model in models], polars.String),
    ]
    return polars.DataFrame(columns)


def epochs_frame(snapshot: Snapshot, histories: Iterable[Sequence[EpochFinished]]) -> polars.DataFrame:
    """A row per epoch of each model; `histories` are in the order of the models."""
    import polars

    names = _recorded(snapshot)
    whole = {column: array("q") for column in ("index", "attempt", "epoch", "step")}
    models: list[str] = []
    columns = {metric_column(name, EPOCH_COLUMNS): name for name in names}
    values: dict[str, list[float | None]] = {name: [] for name in ("time", "best_loss", "seconds", *columns)}
    for history in histories:
        for epoch in history:
            models.append(epoch.model)
            for column, kept in whole.items():
                kept.append(getattr(epoch, column))
            for column in ("time", "best_loss", "seconds"):
                values[column].append(getattr(epoch, column))
            for column, name in columns.items():
                values[column].append(_number(epoch.metrics.get(name)))
    made = {
        "model": polars.Series("model", models, polars.String),
        **{column: polars.Series(column, kept, polars.Int64) for column, kept in whole.items()},
        **{name: polars.Series(name, kept, polars.Float64) for name, kept in values.items()},
    }
    return polars.DataFrame([made[name] for name in (*EPOCH_COLUMNS, *columns)])


def _recorded(snapshot: Snapshot) -> list[str]:
    """The metrics of the run's epochs."""
    of_models = (name for model in snapshot.models for name in model.metrics if not name.startswith(TEST))
    declared = (name for record in snapshot.run.metrics if isinstance(name := record.get("name"), str))
    return [metric.name for metric in snapshot.metrics.ordered((*of_models, *declared))]


def _number(value: float | None) -> float | None:
    """A metric; None for NaN and infinity, as in JSON."""
    return value if value is None or value - value == 0.0 else None


def _config_column(key: str, models: Sequence[ModelState]) -> polars.Series:
    """The values of a swept setting: numbers, flags or lists where all are, else text."""
    import polars

    values: list[Any] = [model.combination.get(key) for model in models]
    kinds = {type(value) for value in values if value is not None}
    name = f"{CONFIG}{key}"
    if kinds == {bool}:
        return polars.Series(name, values, polars.Boolean)
    if kinds == {int}:
        return polars.Series(name, values, polars.Int64)
    if kinds <= {int, float}:
        return polars.Series(name, values, polars.Float64)
    return polars.Series(name, [None if value is None else value_text(value) for value in values], polars.String)
