"""The runs that Prometheus is shown: those that were named, or the live ones and the newest others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui import client
from forge_tui.errors import RunDirectoryError, RunGone
from forge_tui.exporters.prometheus import Overview, metrics_text

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot

# Runs without a recorded end that are looked at: one that died says so only when it is read. They stay open.
_MOST_READ = 50


class Collector:
    """Reads runs again and again; those of models that have not changed are not read twice.

    `collect` may be called from any thread.
    """

    def __init__(self, named: Sequence[Path], most_runs: int, most_models: int) -> None:
        """`named`: run directories; without any the known runs, of which `most_runs` are shown."""
        self._named, self._most_runs, self._most_models = tuple(named), most_runs, most_models
        self._runs: dict[Path, client.Run] = {}
        self._lock = threading.Lock()
        self.unreadable = 0
        """How many runs could not be read the last time."""

    def collect(self) -> str:
        """The metrics of the present moment."""
        with self._lock:
            overview = self._overview()
            self.unreadable = overview.unreadable
            return metrics_text(overview, self._most_models)

    def close(self) -> None:
        """Close the runs' files."""
        with self._lock:
            for run in self._runs.values():
                run.close()
            self._runs.clear()

    def _overview(self) -> Overview:
        if self._named:
            paths, left_out, most = list(self._named), 0, len(self._named)
        else:
            known = client.named_runs()
            unended = [entry.path for entry in known if entry.status is None][:_MOST_READ]
            ended = [entry.path for entry in known if entry.status is not None]
            paths, most = unended + ended[: self._most_runs], self._most_runs
            left_out = len(known) - len(paths)
        read = [(path, self._snapshot(path)) for path in paths]
        found = [(path, snapshot) for path, snapshot in read if snapshot is not None]
        if not self._named:
            found.sort(key=lambda item: (not item[1].state.is_live, -item[1].run.created))
        shown = found[:most]
        self._keep({path for path, _ in found})
        named = _names(shown)
        return Overview(named, left_out + len(found) - len(shown), len(read) - len(found))

    def _snapshot(self, path: Path) -> Snapshot | None:
        try:
            if path not in self._runs:
                self._runs[path] = client.Run(path)
            return self._runs[path].snapshot()
        except RunGone:  # it may be another run now
            self._drop(path)
        except RunDirectoryError:
            pass
        return None

    def _keep(self, paths: set[Path]) -> None:
        for path in self._runs.keys() - paths:
            self._drop(path)

    def _drop(self, path: Path) -> None:
        if (run := self._runs.pop(path, None)) is not None:
            run.close()


def _names(runs: Sequence[tuple[Path, Snapshot]]) -> list[tuple[str, Snapshot]]:
    """Each run by its id, or by its directory where several have the same id: Prometheus refuses equal series."""
    count = Counter(snapshot.run.run for _, snapshot in runs)
    return [(snapshot.run.run if count[snapshot.run.run] == 1 else str(path), snapshot) for path, snapshot in runs]
