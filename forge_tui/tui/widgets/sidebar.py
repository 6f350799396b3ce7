"""The machine in full: CPU, memory, pressure, disk, GPUs, others' work, suggestion of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container

from forge_tui.safe_io.printing import printable
from forge_tui.tui.widgets.glyphs import Glyphs
from forge_tui.tui.widgets.header import GIB, disk_free, here, spark, without_counts
from forge_tui.tui.widgets.text_panel import TextPanel

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.resources.hardware import SystemResources
    from forge_tui.resources.monitor import ResourceSample

_CURVE = 24


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
    ) -> None:
        """Draw the machine's state; `suggestion` is the resource rules' advice."""
        disk = disk_free(Path(snapshot.run.path) if snapshot is not None else here())
        run = None if snapshot is None else snapshot.run
        known = (sample, tuple(self._cpu), disk, detected, run, suggestion)
        if known == self._drawn:
            return
        self._drawn = known
        text = Text()
        if sample is not None:
            self._cpu_part(text, sample)
            self._memory_part(text, sample, detected)
            self._pressure_part(text, sample)
        _entry(text, "DISK", f"{disk} free")
        self._gpu_part(text, detected)
        if run is not None:
            _entry(text, "WORKERS", f"{run.workers} of {run.requested}, {run.threads} thread" + "s" * (run.threads > 1))
            if run.fuse > 1:
                text.append(f"up to {run.fuse} models together each\n")
            text.append(f"{printable(without_counts(run.limit_reason))}\n", style="dim")
            if run.limit_hint:
                text.append(f"more with {printable(run.limit_hint)}\n", style="dim")
        if suggestion:
            _entry(text, "SUGGESTED", "")
            text.append(f"{printable(suggestion)}\n")
        if sample is not None:
            for alert in sample.alerts:
                text.append(f"! {printable(alert)}\n", style="bold red")
        if detected is not None:
            for problem in (*detected.failures, *detected.problems):
                text.append(f"! {printable(problem)}\n", style="yellow")
        self._panel.show(text)

    def _cpu_part(self, text: Text, sample: ResourceSample) -> None:
        others = sample.others_cpu_percent
        _entry(text, "CPU", f"{sample.cpu_percent:.0f} %, {len(sample.per_core)} cores")
        text.append(f"{spark(self._cpu, 100.0, self._glyphs)}\n")
        text.append(f"cores {spark(list(sample.per_core[:_CURVE]), 100.0, self._glyphs)}\n")
        text.append(f"ours {max(0.0, sample.cpu_percent - others):.0f} %  others ")
        text.append(f"{others:.0f} %\n", style="bold red" if others > 80 else "")
        if sample.load_average is not None:
            text.append("load {:.1f} {:.1f} {:.1f}\n".format(*sample.load_average))

    def _memory_part(self, text: Text, sample: ResourceSample, detected: SystemResources | None) -> None:
        share = sample.memory_percent / 100
        done, left = self._glyphs.bar(share, _CURVE)
        _entry(text, "MEMORY", f"{sample.memory_used / GIB:.1f} of {sample.memory_limit / GIB:.1f} GiB")
        text.append(done, style="bold red" if share > 0.9 else "green")
        text.append(f"{left}\n", style="dim")
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

    def _gpu_part(self, text: Text, detected: SystemResources | None) -> None:
        if detected is None:
            return
        if not detected.gpus:
            _entry(text, "GPU", "none found")
        for gpu in detected.gpus:
            _entry(text, "GPU", printable(str(gpu.name)))


def _entry(text: Text, title: str, value: str) -> None:
    if text:
        text.append("\n" if not text.plain.endswith("\n") else "")
    text.append(f"{title} ", style="bold")
    text.append(f"{value}\n")
