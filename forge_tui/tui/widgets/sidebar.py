"""The machine in full: CPU, memory, pressure, disk, GPUs, others' work, suggestion of the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container

from forge_tui.safe_io.printing import printable
from forge_tui.tui.widgets.glyphs import Glyphs
from forge_tui.tui.widgets.header import GIB, disk_free, here, spark, without_counts
from forge_tui.tui.widgets.text_panel import TextPanel

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.resources.gpu_users import SeenGpu
    from forge_tui.resources.hardware import SystemResources
    from forge_tui.resources.monitor import ResourceSample

_CURVE = 24
_ROOMY = 70
"""From so many cells on, several figures stand in one line."""
_NARROW = 30
"""Cells beside the screen's own part, in the style sheet."""


class Sidebar(Container, can_focus=False):
    """Drawn for every sample; only changed lines are repainted."""

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._glyphs = glyphs
        self._panel = TextPanel("Looking at the machine…")
        self._cpu: list[float] = []
        self._drawn: tuple[object, ...] | None = None

    def compose(self) -> ComposeResult:
        """The text panel."""
        yield self._panel

    def show_curve(self, percent: Sequence[float]) -> None:
        """Set the CPU use until now, the newest last."""
        self._cpu = list(percent[-_CURVE:])

    def draw(
        self,
        sample: ResourceSample | None,
        detected: SystemResources | None,
        snapshot: Snapshot | None,
        suggestion: str,
        gpus: Sequence[SeenGpu] = (),
    ) -> None:
        """Draw the machine's state; `suggestion` is the resource rules' advice, `gpus` the newest figures of GPUs."""
        disk = disk_free(Path(snapshot.run.path) if snapshot is not None else here())
        run = None if snapshot is None else snapshot.run
        width = self._panel.size.width or _NARROW
        known = (sample, tuple(self._cpu), disk, detected, run, suggestion, gpus, width)
        if known == self._drawn:
            return
        self._drawn = known
        text = Text()
        if sample is not None:
            self._cpu_part(text, sample, width)
            self._memory_part(text, sample, detected, width)
            self._pressure_part(text, sample)
        _entry(text, "DISK", f"{disk} free")
        if gpus:
            from forge_tui.tui.widgets.gpu_part import gpu_text

            text.append_text(gpu_text(gpus, width, self._glyphs, None if run is None else run.run))
        elif detected is not None:
            _entry(text, "GPU", "none found")
        if run is not None:
            _entry(text, "WORKERS", f"{run.workers} of {run.requested}, {run.threads} thread" + "s" * (run.threads > 1))
            if run.fuse > 1:
                text.append(f"up to {run.fuse} models together each\n")
            text.append(f"{printable(without_counts(run.limit_reason))}\n", style="dim")
            if run.limit_hint:
                text.append(f"more with {printable(run.limit_hint)}\n", style="dim")
            if run.energy is not None:
                energy_part(text, run.energy, width)
        if suggestion:
            _entry(text, "SUGGESTED", "", "" if width >= _ROOMY else "\n")
            text.append(f"{printable(suggestion)}\n")
        if sample is not None:
            for alert in sample.alerts:
                text.append(f"! {printable(alert)}\n", style="bold red")
        if detected is not None:
            for problem in (*detected.failures, *detected.problems):
                text.append(f"! {printable(problem)}\n", style="yellow")
        self._panel.show(text)

    def _cpu_part(self, text: Text, sample: ResourceSample, width: int) -> None:
        others, end = sample.others_cpu_percent, _end(width)
        _entry(text, "CPU", f"{sample.cpu_percent:.0f} %, {len(sample.per_core)} cores", end)
        text.append(f"{spark(self._cpu, 100.0, self._glyphs)}{end}")
        text.append(f"cores {spark(list(sample.per_core[:_CURVE]), 100.0, self._glyphs)}\n")
        text.append(f"ours {max(0.0, sample.cpu_percent - others):.0f} %  others ")
        text.append(f"{others:.0f} %{end}", style="bold red" if others > 80 else "")
        if sample.load_average is not None:
            text.append("load {:.1f} {:.1f} {:.1f}\n".format(*sample.load_average))

    def _memory_part(self, text: Text, sample: ResourceSample, detected: SystemResources | None, width: int) -> None:
        share, end = sample.memory_percent / 100, _end(width)
        done, left = self._glyphs.bar(share, _CURVE)
        _entry(text, "MEMORY", f"{sample.memory_used / GIB:.1f} of {sample.memory_limit / GIB:.1f} GiB", end)
        text.append(done, style="bold red" if share > 0.9 else "green")
        text.append(f"{left}{end}", style="dim")
        text.append(f"{sample.memory_available / GIB:.1f} GiB available\n")
        if detected is not None and detected.memory_limit_source:
            text.append(f"limit: {printable(detected.memory_limit_source)}\n", style="dim")

    def _pressure_part(self, text: Text, sample: ResourceSample) -> None:
        if sample.pressure:
            # All three fit the sidebar's 30 cells.
            names = {"memory": "mem"}
            pressure = " ".join(
                f"{names.get(one.resource, one.resource)} {one.some_percent:.0f}%" for one in sample.pressure
            )
            _entry(text, "PRESSURE", pressure)


def energy_part(text: Text, record: Mapping[str, Any], width: int) -> None:
    """Append the lines of a run's energy; why something is unknown only where there is room."""
    from forge_tui.protocol.energy import Energy  # here: the first paint needs none
    from forge_tui.text.energy_lines import energy_in_short

    energy = Energy.from_record(record)
    if energy is None:
        return
    first, *others = energy_in_short(energy, reasons=width >= _ROOMY)
    _entry(text, "ENERGY", first)
    for line in others:
        text.append(f"{printable(line)}\n", style="dim")


def _entry(text: Text, title: str, value: str, end: str = "\n") -> None:
    if text:
        text.append("\n" if not text.plain.endswith("\n") else "")
    text.append(f"{title} ", style="bold")
    text.append(f"{value}{end}")


def _end(width: int) -> str:
    """What ends a figure: a line, or where several fit in one, a gap. So eight GPUs fit below on 80x24."""
    return "  " if width >= _ROOMY else "\n"
