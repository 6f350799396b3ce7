"""Mean and deviation over the seeds of each config, for the chart: fetched in a thread, incrementally."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forge_tui.analysis.spread import NO_NUMBER, Band, SeedCurve, SeedValues
from forge_tui.errors import ForgeError
from forge_tui.protocol.model_state import ModelState
from forge_tui.tui.chart.chart_widget import Kind, Series

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.tui.app_interface import Teller

MOST_CONFIGS = 8
# With 10,000 epochs each these take 16 MB, and 7 s for the first read.
MOST_SEEDS = 100
# About 15 ms of reading: quitting waits for threads.
_CHUNK = 2_000


@dataclass(slots=True)
class _Model:
    """The epochs of a model read so far, up to its state `seen`."""

    since: int = 0
    seen: ModelState | None = None
    train: SeedValues = field(default_factory=SeedValues)
    validation: SeedValues = field(default_factory=SeedValues)


class SeedReader:
    """Reads and caches the losses of a run's models: a repaint only reads new epochs.

    `fetch` may be called from any thread. After `cancel` it returns within one chunk of reading.
    """

    def __init__(self, run: Run, name: str = "") -> None:
        """`name` precedes the names of the configs if several runs share a chart."""
        self.run = run
        self.read_of = (0, 0)
        """The number of models read so far, and in all."""
        self._name = name
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._models: dict[int, _Model] = {}
        self._curves: dict[tuple[int, ...], tuple[SeedCurve, SeedCurve]] = {}

    def cancel(self) -> None:
        """End a running `fetch`."""
        self._cancelled.set()

    def fetch(self, models: Sequence[ModelState], buckets: int) -> tuple[Series, ...]:
        """A training and a validation curve for each config, at most `buckets` points each, and their edges.

        The first config is that of the first model; at most `MOST_CONFIGS`, and the first `MOST_SEEDS` models of each.
        Raises `RunDirectoryError`; returns nothing once it is cancelled.
        """
        groups = seeds_by_config(models)[:MOST_CONFIGS]
        with self._lock:
            wanted = [model for group in groups for model in group]
            changed: dict[int, range] = {}
            for number, model in enumerate(wanted):
                self.read_of = (number, len(wanted))
                changed[model.index] = self._read(model)
                if self._cancelled.is_set():
                    return ()
            curves: dict[tuple[int, ...], tuple[SeedCurve, SeedCurve]] = {}
            found: list[Series] = []
            for label, group in zip(_labels(groups, self._name), groups, strict=True):
                members = tuple(model.index for model in group)
                pair = self._curves.get(members)
                if pair is None:
                    kept = [self._models[index] for index in members]
                    pair = SeedCurve([each.train for each in kept]), SeedCurve([each.validation for each in kept])
                else:
                    for curve in pair:
                        for index in members:
                            curve.changed(changed[index])
                curves[members] = pair
                found += _series(label, group, pair, buckets)
            self._curves = curves
        return tuple(found)

    def _read(self, model: ModelState) -> range:
        """Read new epochs of a model; returns the epochs that changed."""
        kept = self._models.setdefault(model.index, _Model())
        if kept.seen is model or model.epoch == 0:
            return range(0)
        first, last = 0, 0
        while not self._cancelled.is_set():
            page = self.run.epoch_page(model.index, kept.since, _CHUNK)
            for epoch, metrics in page.epochs:
                changed = kept.train.put(epoch, metrics.get("loss"), NO_NUMBER, alone=page.replaces_alone)
                kept.validation.put(epoch, metrics.get("validation_loss"), alone=page.replaces_alone)
                if changed:
                    first, last = min(first or changed.start, changed.start), max(last, changed.stop)
            kept.since = page.since
            if not page.may_be_more:
                kept.seen = model
                break
        return range(first, last)


def seeds_by_config(models: Sequence[ModelState]) -> list[list[ModelState]]:
    """The started models by config (without the seed), in the order of first appearance."""
    groups: dict[str, list[ModelState]] = {}
    for model in models:
        if model.epoch > 0:
            groups.setdefault(json.dumps(_config(model), sort_keys=True, default=str), []).append(model)
    return [group[:MOST_SEEDS] for group in groups.values()]


def _config(model: ModelState) -> dict[str, Any]:
    """Its config, and its own values of a sweep's data settings."""
    return {**model.config, **model.combination}


def _labels(groups: Sequence[Sequence[ModelState]], name: str) -> list[str]:
    """One label per config: the name, and for several configs what differs."""
    configs = [_config(group[0]) for group in groups]
    keys = dict.fromkeys(key for config in configs for key in config)
    differing = [key for key in keys if len({_value(config, key) for config in configs}) > 1]
    found: list[str] = []
    for config, group in zip(configs, groups, strict=True):
        what = ", ".join(f"{key} {_value(config, key)}" for key in differing)
        count = "" if name else f"{len(group)} seed{'s' if len(group) > 1 else ''}"
        label = " ".join(part for part in (name, what, f"({count})" if what and count else count) if part)
        # Curves of one label share a colour.
        found.append(label if label not in found else f"{label} #{len(found) + 1}")
    return found


def _value(config: Mapping[str, Any], key: str) -> str:
    return str(config.get(key, "unset"))


def _series(label: str, group: Sequence[ModelState], pair: tuple[SeedCurve, SeedCurve], buckets: int) -> list[Series]:
    marks = tuple(sorted({float(model.epoch) for model in group if model.diverged}))
    found = [_one(label, "train", pair[0].band(buckets), marks)]
    if any(model.metrics.get("validation_loss") is not None for model in group):
        found.append(_one(label, "validation", pair[1].band(buckets), ()))
    return found


def _one(label: str, kind: Kind, band: Band, marks: tuple[float, ...]) -> Series:
    return Series(label, kind, band.mean, marks, (band.lower, band.upper))


class SeedFeed:
    """Supplies a chart with means over seeds, read in a thread, one reading at a time."""

    def __init__(self, app: Teller, show: Callable[[tuple[Series, ...]], None]) -> None:
        """`show` is called with the curves, unless `stop` was before."""
        self._app, self._show = app, show
        self._readers: dict[Run, SeedReader] = {}
        self._reading = False
        self._stopped = False

    def refresh(self, wanted: Sequence[tuple[Run, Sequence[ModelState], str]], buckets: int) -> bool:
        """Read new epochs of these runs' models, then show the curves. `wanted` has names as in `SeedReader`.

        False if the last reading is still running: call again later.
        """
        if self._reading:
            return False
        runs = [run for run, _, _ in wanted]
        for run in [run for run in self._readers if run not in runs]:
            del self._readers[run]
        readers = [self._readers.setdefault(run, SeedReader(run, name)) for run, _, name in wanted]
        self._reading = True

        def fetch() -> tuple[Series, ...]:
            pairs = zip(readers, wanted, strict=True)
            return tuple(series for reader, (_, models, _) in pairs for series in reader.fetch(models, buckets))

        def fetched(result: tuple[Series, ...] | ForgeError) -> None:
            self._reading = False
            if not self._stopped and not isinstance(result, ForgeError):
                self._show(result)

        self._app.call_in_thread(fetch, then=fetched)
        return True

    @property
    def progress(self) -> str:
        """The progress of a long reading, as a sentence."""
        numbers = [reader.read_of for reader in self._readers.values()]
        done, of = sum(done for done, _ in numbers), sum(of for _, of in numbers)
        return f"Reading the epochs of {of} models, {done} done…"

    def stop(self) -> None:
        """Read no more."""
        self._stopped = True
        for reader in self._readers.values():
            reader.cancel()
