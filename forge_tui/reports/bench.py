"""Compares series and parallel mode on this machine: trains the same models both ways, as complete runs."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forge_tui import client
from forge_tui.errors import ForgeError
from forge_tui.protocol.phases import RunState
from forge_tui.text.figures import table

if TYPE_CHECKING:
    from forge_tui.protocol.run_info import RunInfo
    from forge_tui.settings.schema import Settings

_HEADER = ("SIZE", "MODELS", "SERIES", "PARALLEL", "SPEED-UP", "NOTES")


@dataclass(frozen=True, slots=True)
class Compared:
    """Seconds per round for one model size and count, in series and in parallel, and the parallel configuration."""

    model_size: int
    models: int
    series: tuple[float, ...]
    parallel: tuple[float, ...]
    notes: str

    @property
    def speed_up(self) -> float:
        """The speed-up of parallel mode, by the medians."""
        return statistics.median(self.series) / statistics.median(self.parallel)

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict, times in seconds."""
        return {**asdict(self), "speed_up": self.speed_up}


def compare_modes(
    settings: Settings, sizes: Sequence[int], counts: Sequence[int], rounds: int, tell: Callable[[str], None]
) -> list[Compared]:
    """Train every size and count in series and in parallel, alternating; the runs are deleted afterwards.

    `tell` is called with a line for each run that begins. Raises `ForgeError` if one does not begin or complete.
    """
    found = []
    for size in sizes:
        for count in counts:
            times: dict[Literal["series", "parallel"], list[float]] = {"series": [], "parallel": []}
            notes = ""
            for number in range(rounds):
                for mode in times:
                    tell(f"{count} models of {size:,} parameters in {mode}, round {number + 1} of {rounds}")
                    seconds, info = _timed(_of(settings, size, count, mode))
                    times[mode].append(seconds)
                    if mode == "parallel":
                        notes = _notes(info)
            found.append(Compared(size, count, tuple(times["series"]), tuple(times["parallel"]), notes))
    return found


def bench_table(found: Sequence[Compared]) -> str:
    """The medians, one line per size and count."""
    rows = []
    for one in found:
        series, parallel = statistics.median(one.series), statistics.median(one.parallel)
        times = (f"{series:.1f} s", f"{parallel:.1f} s", f"{one.speed_up:.2f}x")
        rows.append((f"{one.model_size:,}", str(one.models), *times, one.notes))
    return table(_HEADER, rows)


def _of(settings: Settings, size: int, count: int, mode: Literal["series", "parallel"]) -> Settings:
    training = replace(settings.training, model_size=size, training_mode=mode)
    return replace(settings, training=training, run=replace(settings.run, models=count))


def _timed(settings: Settings) -> tuple[float, RunInfo]:
    """Seconds from the start of a run until it has ended and released its directory, and its record."""
    with tempfile.TemporaryDirectory(prefix="forge-tui-bench-") as place:
        path = Path(place) / "run"
        begun = time.perf_counter()
        with client.start(replace(settings, run=replace(settings.run, output=str(path)))) as run:
            ended = run.wait()
        seconds = time.perf_counter() - begun
        client.delete(path)
        if ended.state is not RunState.COMPLETED:
            raise ForgeError(f"a run to be timed ended as {ended.state}: {ended.run.reason or 'no reason is known'}")
        return seconds, ended.run


def _notes(info: RunInfo) -> str:
    workers = f"{info.workers} worker{'s' if info.workers > 1 else ''}"
    models = f"{info.fuse} model{'s' if info.fuse > 1 else ''}"
    return f"{workers} of {models}, {info.threads} thread{'s' if info.threads > 1 else ''} each; {info.limit_reason}"
