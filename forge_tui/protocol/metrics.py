"""The metrics of an epoch: name, goal and how each is shown.

Metrics that forge-tui computes are declared here, in `BUILT_IN`, and computed in `training.metrics`; everything that
records, ranks, plots, prints or exports metrics uses the declaration.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from forge_tui.safe_io.printing import printable
from forge_tui.safe_io.strict_json import LARGEST_INTEGER
from forge_tui.settings.own_names import function_name

if TYPE_CHECKING:
    from forge_tui.settings.schema import Settings, TrainingConfig

Goal = Literal["higher", "lower"]
Metrics = dict[str, float | None]
"""The metrics of one epoch by name; None where a value is NaN, infinite or unknown."""

LONGEST_NAME = 100
MOST_METRICS = 200
"""Maximum length of a name, and maximum number of names in a run."""
SHARE = "%"
"""The unit of fractions: 0–1, shown as percent where space is short."""
AUTO = "auto"
"""`training.select_by`: the default order of `MetricTable.ranking`."""
VALIDATION, TEST = "validation_", "test/"
"""How names of metrics begin that are measured on the validation split, or at the end on the test split."""
CUSTOM = "validation_metric"
"""The metric that custom code measures on the validation split (`training.metric`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric. `name` is its key in `metrics`, `title` its name in text, `short` its column header.

    `goal`: whether higher or lower is better; None: neither. `unit`: None for a plain number. `default`: tables and
    reports show it by default. `ranks`: it helps to choose the best model, before those declared earlier. `log`: its
    chart starts with a logarithmic axis.
    """

    name: str
    title: str
    short: str
    goal: Goal | None = None
    unit: str | None = None
    default: bool = True
    ranks: bool = False
    log: bool = False

    @property
    def is_validation(self) -> bool:
        """Whether it is measured on the validation split."""
        return self.name.startswith(VALIDATION)

    @property
    def is_test(self) -> bool:
        """Whether it is measured on the test split."""
        return self.name.startswith(TEST)

    @property
    def words(self) -> str:
        """Its title, and where it is measured: `validation accuracy`."""
        is_plain = not self.is_validation or self.title.startswith("validation")
        return self.title if is_plain else f"validation {self.title}"

    def badness(self, value: float | None) -> float:
        """A number that is smaller for a better `value`; infinite without a number or a goal."""
        if value is None or self.goal is None or not math.isfinite(value):
            return math.inf
        return -value if self.goal == "higher" else value

    def to_record(self) -> dict[str, Any]:
        """The declaration in the run's record."""
        return {
            "name": self.name,
            "title": self.title,
            "goal": self.goal,
            "unit": self.unit,
            "default": self.default,
        }


_VALIDATED = (
    Metric(name="validation_accuracy", title="accuracy", short="accuracy", goal="higher", unit=SHARE, ranks=True),
    Metric(
        name="validation_balanced_accuracy", title="balanced accuracy", short="bal acc", goal="higher", default=False
    ),
    Metric(name="validation_f1", title="macro F1", short="F1", goal="higher", default=False),
    Metric(name="validation_log_loss", title="log loss", short="log loss", goal="lower", default=False, log=True),
    Metric(name="validation_auc", title="ROC AUC", short="AUC", goal="higher", default=False),
    Metric(name="validation_mae", title="MAE", short="MAE", goal="lower", default=False, log=True),
    Metric(name="validation_rmse", title="RMSE", short="RMSE", goal="lower", default=False, log=True),
    Metric(name="validation_r2", title="R²", short="R²", goal="higher"),
    Metric(name="validation_perplexity", title="perplexity", short="perplexity", goal="lower", ranks=True, log=True),
)  # fmt: skip
BUILT_IN = (
    Metric(name="loss", title="loss", short="loss", goal="lower", ranks=True, log=True),
    Metric(
        name="validation_loss", title="validation loss", short="val loss", goal="lower", ranks=True, log=True
    ),
    *_VALIDATED,
    Metric(name=CUSTOM, title="metric", short="metric", goal="higher", ranks=True),
    Metric(name="learning_rate", title="learning rate", short="learning rate", default=False, log=True),
    Metric(name="steps_per_second", title="steps/s", short="steps/s", unit="1/s", default=False),
    Metric(name=f"{TEST}loss", title="test loss", short="test loss", goal="lower", default=False, log=True),
    *(
        dataclasses.replace(
            metric,
            name=f"{TEST}{metric.name.removeprefix(VALIDATION)}",
            title=f"test {metric.title}",
            short=f"test {metric.short}",
            ranks=False,
        )
        for metric in _VALIDATED
    ),
)  # fmt: skip
"""All metrics that forge-tui computes."""

LOSSES = ("loss", "validation_loss")

# Ranks as the validation loss does, and says more.
_INSTEAD = "validation_r2"
_BY_NAME = {metric.name: metric for metric in BUILT_IN}
# Keys of the JSON format before `metrics`, kept beside it.
_OLD_KEYS = (
    "loss", "validation_loss", "validation_accuracy", "validation_perplexity", "validation_metric", "learning_rate",
    "steps_per_second",
)  # fmt: skip
_SHARES = frozenset(metric.name for metric in BUILT_IN if metric.unit == SHARE)
_USUAL = frozenset(metric.name for metric in BUILT_IN)
_NOT_AT_THE_END = frozenset(("learning_rate", "steps_per_second"))
_OLD_GOALS: dict[str, Goal] = {"largest": "higher", "least": "lower"}


def goal_of(word: Any) -> Goal:
    """The goal that `training.metric_goal` names, in today's words or those of older files."""
    return _OLD_GOALS.get(word, "lower" if word == "lower" else "higher")


def old_keys(metrics: Mapping[str, float | None], *, at_the_end: bool = False) -> Metrics:
    """The older keys beside `metrics` in JSON. `at_the_end`: those of a completed model, which has no speed."""
    return {name: metrics.get(name) for name in _OLD_KEYS if not (at_the_end and name in _NOT_AT_THE_END)}


def metrics_of(record: Mapping[str, Any]) -> Any:
    """The `metrics` of a record, also of an older one that has separate keys instead."""
    if "metrics" in record:
        return record["metrics"]
    found = {name: record[name] for name in _OLD_KEYS if record.get(name) is not None}
    return {"loss": None, **found} if "loss" in record else found


def is_metric_table(value: Any) -> bool:
    """Whether it maps valid metric names to numbers or None; fractions are from 0 to 1.

    Viewers check every epoch that they read: the usual names are compared at once.
    """
    if type(value) is not dict or len(value) > MOST_METRICS:
        return False
    if not (value.keys() <= _USUAL or all(map(_is_name, value))):
        return False
    for number in value.values():
        if type(number) is float:
            if number - number != 0.0:  # NaN or infinite
                return False
        elif number is not None and not (type(number) is int and abs(number) <= LARGEST_INTEGER):
            return False
    return all((share := value[name]) is None or 0 <= share <= 1 for name in _SHARES & value.keys())


def _is_name(name: Any) -> bool:
    return type(name) is str and 0 < len(name) <= LONGEST_NAME and name.isprintable()


class Measured:
    """A record with `metrics`. Metrics with fields of their own in older formats are also attributes."""

    __slots__ = ()
    metrics: Metrics

    @property
    def loss(self) -> float | None:
        """`loss` of `metrics`: the training loss."""
        return self.metrics.get("loss")

    @property
    def validation_loss(self) -> float | None:
        """`validation_loss` of `metrics`: that of the validation split."""
        return self.metrics.get("validation_loss")

    @property
    def validation_accuracy(self) -> float | None:
        """`validation_accuracy` of `metrics`: fraction of correct classes, 0–1."""
        return self.metrics.get("validation_accuracy")

    @property
    def validation_perplexity(self) -> float | None:
        """`validation_perplexity` of `metrics`: perplexity of next tokens."""
        return self.metrics.get("validation_perplexity")

    @property
    def validation_metric(self) -> float | None:
        """`validation_metric` of `metrics`: the custom metric."""
        return self.metrics.get("validation_metric")

    @property
    def learning_rate(self) -> float | None:
        """`learning_rate` of `metrics`: the rate of the epoch's last step."""
        return self.metrics.get("learning_rate")

    @property
    def steps_per_second(self) -> float | None:
        """`steps_per_second` of `metrics`: the speed of the epoch."""
        return self.metrics.get("steps_per_second")


class MetricTable:
    """The metrics of a run. An undeclared name is a metric without a goal."""

    def __init__(self, declared: Iterable[Metric] = (), select_by: str = AUTO) -> None:
        """`declared`: the run's declarations, which override `BUILT_IN`. `select_by`: the metric that ranks first."""
        own = {metric.name: metric for metric in declared}
        self._metrics = {**{name: own.pop(name, metric) for name, metric in _BY_NAME.items()}, **own}
        self.select_by = select_by
        chosen = () if select_by == AUTO else (self[select_by],)
        ranks = [metric for metric in reversed(self._metrics.values()) if metric.ranks and metric.name != select_by]
        self.ranking: tuple[Metric, ...] = (*chosen, *ranks)
        """The metrics that rank models: the first decides, the next ones break ties and replace unknown values."""

    def __getitem__(self, name: str) -> Metric:
        found = self._metrics.get(name)
        return Metric(name=name, title=name, short=name) if found is None else found

    def ordered(self, names: Iterable[str]) -> list[Metric]:
        """The metrics of these names, declared ones first."""
        wanted = dict.fromkeys(names)
        return [
            *(metric for name, metric in self._metrics.items() if name in wanted),
            *(self[name] for name in wanted if name not in self._metrics),
        ]

    def shown(self, of: Iterable[Mapping[str, float | None]]) -> list[Metric]:
        """The metrics that tables show by default, if any of these has a number."""
        names = dict.fromkeys(name for metrics in of for name, value in metrics.items() if value is not None)
        return [metric for metric in self.ordered(names) if metric.default]

    def headline(self, metrics: Mapping[str, float | None]) -> Metric | None:
        """The most telling metric of a model beside its losses: the first of `ranking` that it has, else R²."""
        for metric in (*self.ranking, self[_INSTEAD]):
            if metric.name not in LOSSES and metrics.get(metric.name) is not None:
                return metric
        return None

    def measured(self, recorded: Iterable[str]) -> Metric:
        """The metric that `measure` takes, of models that have these."""
        if self.select_by != AUTO:
            return self[self.select_by]
        return self["validation_loss" if "validation_loss" in recorded else "loss"]

    def measure(self, metrics: Mapping[str, float | None]) -> float | None:
        """The value that early stopping and halving minimise; None if unknown.

        The metric of `select_by`; with `auto` the validation loss, or the loss if there is none.
        """
        if self.select_by != AUTO:
            badness = self[self.select_by].badness(metrics.get(self.select_by))
            return badness if math.isfinite(badness) else None
        loss = metrics.get("validation_loss")
        return metrics.get("loss") if loss is None else loss


def declared_metrics(
    records: Sequence[Mapping[str, Any]] = (), config: Mapping[str, Any] | None = None
) -> list[Metric]:
    """The metrics that a run's record declares, and the custom metric of a model's `config`.

    Invalid declarations are ignored.
    """
    found = {}
    for record in records:
        name, title, goal = record.get("name"), record.get("title"), record.get("goal")
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            continue
        known = _BY_NAME.get(name, Metric(name=name, title=name, short=name))
        title = title if isinstance(title, str) and title else known.title
        found[name] = dataclasses.replace(
            known,
            title=title,
            short=known.short if title == known.title else title,
            goal=goal if goal in ("higher", "lower") else None,
            default=record.get("default") is not False,
        )
    if CUSTOM not in found and config is not None:
        title = printable(function_name(str(config.get("metric", AUTO)), "metric"))
        goal = goal_of(config.get("metric_goal"))
        found[CUSTOM] = dataclasses.replace(_BY_NAME[CUSTOM], title=title, short=title, goal=goal)
    return list(found.values())


def table_of(training: TrainingConfig, declared: Sequence[Mapping[str, Any]] = ()) -> MetricTable:
    """The metrics of models that are trained with these settings; `declared`: by the run's record."""
    config = {"metric": training.metric, "metric_goal": training.metric_goal}
    return MetricTable(declared_metrics(declared, config), training.select_by)


def with_custom_metric(records: tuple[dict[str, Any], ...], settings: Settings) -> tuple[dict[str, Any], ...]:
    """A run's declarations, with the custom metric of its settings added if it is missing."""
    training = settings.training
    is_named = training.metric != AUTO or "training.metric" in settings.sweep
    if not is_named or any(record.get("name") == CUSTOM for record in records):
        return records
    config = {"metric": training.metric, "metric_goal": training.metric_goal}
    return (*records, *(metric.to_record() for metric in declared_metrics((), config)))
