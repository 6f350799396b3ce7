"""Compares runs: differing settings and results; as data, as rows of text, and as a report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from forge_tui.analysis.configs import ConfigResults, Finals, best_counted, config_results, finals_of
from forge_tui.client.run import Run
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import finite
from forge_tui.protocol.metrics import MetricTable, declared_metrics
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.reports.run_settings import read_run_settings
from forge_tui.safe_io.printing import Writable, printable
from forge_tui.text.config_tables import configs_record, configs_table, importance_line, ranked_by
from forge_tui.text.figures import UNKNOWN, duration, number, spread_text, table

MOST_RUNS = 4
"""With more runs, a mean and its deviation do not fit into 80 columns."""

# Settings about a run's place and display, which would differ between any two runs.
_NOT_COMPARED = ("run.output", "run.json", "ui.")
UNREADABLE = "?"

ComparisonFormat = Literal["text", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One of the runs. Unreadable parts are None, and their `…problem` says why.

    `configs`: the results of a sweep per config. `settings` are by dotted key, as lists, numbers and text.
    """

    name: str
    path: Path
    snapshot: Snapshot | None = None
    finals: Finals | None = None
    configs: ConfigResults | None = None
    problem: str = ""
    settings: Mapping[str, Any] | None = None
    settings_problem: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that differs: its value in each run, None if it is not set or the run's settings are unknown."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The runs, the settings that differ between those with known settings, and the number of `equal` ones."""

    runs: tuple[ComparedRun, ...]
    differences: tuple[Difference, ...]
    equal: int

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, in words."""
        found = []
        for run in self.runs:
            found += [f"{run.name}: {problem}" for problem in (run.problem, run.settings_problem) if problem]
            found += [f"{run.name}: {problem}" for problem in (run.snapshot.problems if run.snapshot else ())]
        return tuple(found)


class Comparer:
    """Reads runs and keeps them open, so that the next look only reads what has changed. Thread-safe."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """`paths` are run directories."""
        self.paths = tuple(paths)
        self.runs: dict[Path, Run] = {}
        self._settings: dict[Path, tuple[Mapping[str, Any] | None, str]] = {}

    def __enter__(self) -> Comparer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the runs."""
        for run in list(self.runs.values()):
            run.close()

    def look(self) -> Comparison:
        """The runs as they are now. An unreadable run is reported as a problem, not raised."""
        return compare([self._look_at(path) for path in self.paths])

    def _look_at(self, path: Path) -> ComparedRun:
        if path not in self._settings:
            self._settings[path] = read_run_settings(path)
        settings, settings_problem = self._settings[path]
        found = ComparedRun(name=path.name, path=path, settings=settings, settings_problem=settings_problem)
        try:
            if path not in self.runs:
                self.runs[path] = Run(path)
            snapshot = self.runs[path].snapshot()
        except RunDirectoryError as error:
            return dataclasses.replace(found, problem=str(error))
        return dataclasses.replace(
            found, snapshot=snapshot, finals=finals_of(snapshot.models), configs=config_results(snapshot)
        )


def compare(runs: Sequence[ComparedRun]) -> Comparison:
    """Compare the settings of `runs`; differences are in the order of the first run's settings."""
    known = [run.settings for run in runs if run.settings is not None]
    keys = [key for key in dict.fromkeys(key for settings in known for key in settings) if _is_compared(key)]
    differing = [key for key in keys if any(settings.get(key) != known[0].get(key) for settings in known[1:])]
    differences = tuple(
        Difference(key, tuple(None if run.settings is None else run.settings.get(key) for run in runs))
        for key in differing
    )
    return Comparison(runs=tuple(runs), differences=differences, equal=len(keys) - len(differing))


def _is_compared(key: str) -> bool:
    return not any(key == left_out or (left_out[-1] == "." and key.startswith(left_out)) for left_out in _NOT_COMPARED)


# --- as rows of text


def setting_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """One row per differing setting: its key, then its value in each run."""
    return [
        (
            difference.key,
            *(
                UNREADABLE if run.settings is None else _value(value)
                for run, value in zip(comparison.runs, difference.values, strict=True)
            ),
        )
        for difference in comparison.differences
    ]


def equal_line(comparison: Comparison) -> str:
    """How many settings are equal, or why none could be compared."""
    known = sum(1 for run in comparison.runs if run.settings is not None)
    if known < 2:
        return "no settings are compared: those of " + ("only one run" if known else "no run") + " can be read"
    return f"{comparison.equal} setting{'' if comparison.equal == 1 else 's'} equal"


def figure_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """One row per figure: its name, then its value in each run. Figures that no run has are left out.

    "… best" is the value of each run's best model (`ranking.comparison_key`), "… mean" the mean over all that count.
    """
    runs = comparison.runs
    rows = [("state", *(run.snapshot.state.value if run.snapshot else "unreadable" for run in runs))]
    rows.append(("models", *(_models(run) for run in runs)))
    if any(run.finals and run.finals.so_far for run in runs):
        rows.append(("values", *("so far" if run.finals and run.finals.so_far else "final" for run in runs)))
    bests = [None if run.snapshot is None else best_counted(run.snapshot) for run in runs]
    if any(bests):
        rows.append(("best model", *(UNKNOWN if best is None else printable(best.model.name) for best in bests)))
    table = MetricTable(
        metric for run in reversed(runs) if run.snapshot for metric in declared_metrics(run.snapshot.run.metrics)
    )
    for metric in table.ordered(name for run in runs if run.finals for name in run.finals.metrics):
        if not metric.default:
            continue
        spreads = [None if run.finals is None else run.finals.metrics.get(metric.name) for run in runs]
        of_best = (None if best is None else best.model.metrics.get(metric.name) for best in bests)
        rows.append((f"{metric.short} best", *(number(value) for value in of_best)))
        rows.append((f"{metric.short} mean", *(spread_text(each) for each in spreads)))
    rows.append(("took", *(duration(run.snapshot.elapsed_seconds) if run.snapshot else UNKNOWN for run in runs)))
    rows.append(("workers", *(_workers(run) for run in runs)))
    return rows


def _value(value: Any) -> str:
    match value:
        case None:
            return UNKNOWN
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(_value(each) for each in value)
    return printable(str(value))


def _models(run: ComparedRun) -> str:
    if run.snapshot is None:
        return UNKNOWN
    failed = f", {run.snapshot.failed} failed" if run.snapshot.failed else ""
    return f"{run.snapshot.completed}/{len(run.snapshot.models)} done{failed}"


def _workers(run: ComparedRun) -> str:
    return UNKNOWN if run.snapshot is None else f"{run.snapshot.run.workers} of {run.snapshot.run.requested}"


# --- as a report


def write_comparison(comparison: Comparison, form: ComparisonFormat, out: Writable) -> None:
    """Write the comparison to `out`: `text` as two tables, `json` as data with every value in full."""
    if form == "json":
        out.write(json.dumps(_record(comparison)) + "\n")
        return
    names = [f"{place} {run.name}" for place, run in enumerate(comparison.runs, 1)]
    for name, run in zip(names, comparison.runs, strict=True):
        out.write(printable(f"{name}: {run.path}") + "\n")
    if rows := setting_rows(comparison):
        out.write("\n" + table([printable(cell) for cell in ("SETTING", *names)], rows))
    out.write(f"{equal_line(comparison)}\n\n" if rows else f"\n{equal_line(comparison)}\n\n")
    out.write(table([printable(cell) for cell in ("FIGURE", *names)], figure_rows(comparison)))
    counted = [f"{run.finals.models}" for run in comparison.runs if run.finals is not None]
    for name, run in zip(names, comparison.runs, strict=True):
        if run.configs is not None:
            out.write(printable(f"\n{name}") + f": {ranked_by(run.configs)}\n")
            out.write(configs_table(run.configs))
            if what_mattered := importance_line(run.configs):
                out.write(printable(what_mattered) + "\n")
            out.write("\n")
    if counted:
        out.write(f"mean ± standard deviation over {' and '.join(counted)} models\n")
    for problem in comparison.problems:
        out.write("".join(printable(line) + "\n" for line in f"warning: {problem}".split("\n")))


def _record(comparison: Comparison) -> dict[str, Any]:
    runs = []
    for run in comparison.runs:
        snapshot = run.snapshot
        known = {} if snapshot is None else {
            "state": snapshot.state.value, "models": len(snapshot.models), "completed": snapshot.completed,
            "failed": snapshot.failed, "elapsed_seconds": snapshot.elapsed_seconds,
            "workers": snapshot.run.workers, "requested_workers": snapshot.run.requested,
        }  # fmt: skip
        runs.append({
            "run": run.name, "path": str(run.path), "problem": run.problem or None,
            "settings_problem": run.settings_problem or None, **known,
            "best": None if snapshot is None or (best := best_counted(snapshot)) is None else best.to_record(),
            "final": None if run.finals is None else finite(run.finals.to_record()),
            "configs": None if run.configs is None else configs_record(run.configs),
        })  # fmt: skip
    return {
        "runs": runs,
        "settings": {difference.key: list(difference.values) for difference in comparison.differences},
        "equal_settings": comparison.equal,
    }
