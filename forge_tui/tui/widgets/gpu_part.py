"""The GPUs in the sidebar: memory, use, temperature, and who is on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from forge_tui.safe_io.printing import printable
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.glyphs import Glyphs

if TYPE_CHECKING:
    from forge_tui.resources.gpu_users import SeenGpu

_GIB = 1 << 30
_DETAILED = 2
"""So many GPUs have several lines each; more have one."""
_BAR, _SMALL_BAR = 24, 4
_FULL = 0.95


def gpu_text(gpus: Sequence[SeenGpu], width: int, glyphs: Glyphs, run: str | None) -> Text:
    """The GPUs in lines of `width` cells; `run`: the id of the run that is watched."""
    from forge_tui.resources.gpu_words import labels  # here: the first paint needs none

    text = Text()
    named = list(zip(labels(seen.gpu for seen in gpus), gpus, strict=True))
    if len(gpus) <= _DETAILED:
        for label, seen in named:
            _in_detail(text, label, seen, width, glyphs, run)
        return text
    _title(text, "GPUS", _names(gpus), width, glyphs)
    longest = max(len(label) for label, _ in named)
    for label, seen in named:
        _in_a_line(text, f"{label:<{longest}}", seen, width, glyphs, run)
    return text


def _names(gpus: Sequence[SeenGpu]) -> str:
    from forge_tui.resources.gpu_words import short_name

    counts = Counter(short_name(seen.gpu) for seen in gpus)
    return ", ".join(f"{count} × {name}" for name, count in counts.items())


def _in_detail(text: Text, label: str, seen: SeenGpu, width: int, glyphs: Glyphs, run: str | None) -> None:
    from forge_tui.resources.gpu_words import short_name, users_in_words

    gpu = seen.gpu
    _title(text, f"GPU {label}", short_name(gpu), width, glyphs)
    if gpu.problem is not None:
        text.append(f"! {printable(gpu.problem)}\n", style="bold red")
        return
    if gpu.memory_total:
        share = gpu.memory_used / gpu.memory_total
        done, left = glyphs.bar(share, _BAR)
        text.append(done, style="bold red" if share > _FULL else "green")
        text.append(f"{left}\n", style="dim")
        text.append(f"{gpu.memory_used / _GIB:.1f} of {gpu.memory_total / _GIB:.1f} GiB\n")
    known = [_percent(gpu.utilization_percent, " % busy"), _degrees(gpu.temperature, glyphs)]
    if line := "  ".join(part for part in known if part):
        text.append(f"{line}\n")
    if seen.users:
        text.append(f"{printable(users_in_words(seen.users, run))}\n", style="dim")


def _in_a_line(text: Text, label: str, seen: SeenGpu, width: int, glyphs: Glyphs, run: str | None) -> None:
    from forge_tui.resources.gpu_words import users_in_short, users_in_words

    gpu = seen.gpu
    if gpu.problem is not None:
        line = cells.left(f"{label} ! {cells.clean(gpu.problem, glyphs.ascii)}", width, glyphs.ellipsis)
        text.append(f"{line.rstrip()}\n", style="bold red")
        return
    share = gpu.memory_used / gpu.memory_total if gpu.memory_total else 0.0
    done, left = glyphs.bar(share, _SMALL_BAR)
    text.append(f"{label} ")
    text.append(done, style="bold red" if share > _FULL else "green")
    text.append(left, style="dim")
    used = f"{gpu.memory_used / _GIB:.1f}G" if gpu.memory_total else glyphs.unknown
    figures = f" {used:>6}{_percent(gpu.utilization_percent, '%'):>5}{_degrees(gpu.temperature, glyphs, ''):>4} "
    text.append(figures)
    room = width - len(label) - 1 - _SMALL_BAR - len(figures)
    words = users_in_words(seen.users, run)
    if not words or cells.width_of(words) > room:
        words = users_in_short(seen.users)
    text.append(cells.left(cells.clean(words, glyphs.ascii), room, glyphs.ellipsis).rstrip() + "\n", style="dim")


def _title(text: Text, title: str, value: str, width: int, glyphs: Glyphs) -> None:
    text.append(f"{title} ", style="bold")
    room = width - len(title) - 1
    text.append(cells.left(cells.clean(value, glyphs.ascii), room, glyphs.ellipsis).rstrip() + "\n")


def _percent(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.0f}{unit}"


def _degrees(value: float | None, glyphs: Glyphs, unit: str = "C") -> str:
    if value is None:
        return ""
    sign = "" if glyphs.ascii else "°"
    return f"{value:.0f}{sign}{unit}" if sign or unit else f"{value:.0f}C"
