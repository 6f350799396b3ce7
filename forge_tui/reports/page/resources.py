"""The machine during the run, on a page: its load and memory over time, with what was decided."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from forge_tui.protocol.energy import Energy
from forge_tui.protocol.model_state import ModelState
from forge_tui.reports.gpu_lines import gpu_lines
from forge_tui.reports.page.tables import Cell, Section, data_table, folded, number_cell, paragraphs, section
from forge_tui.text.energy_lines import energy_lines
from forge_tui.text.event_lines import log_line
from forge_tui.text.figures import UNKNOWN, duration, memory
from forge_tui.text.markup import Markup, data_script, element

MOST_SAMPLES, MOST_MARKS, MOST_LINES = 300, 100, 500
"""The points of a curve, the marks of the picture, and the lines of the list below it."""
_TABLE_ROWS = 24
_UNMARKED_DECISIONS = ("plan", "threads")
_PERCENT = (("cpu_percent", "CPU"), ("others_cpu_percent", "CPU of others"), ("gpu_percent", "GPU"))
_BYTES = (
    ("memory_used", "memory in use"), ("own_memory", "of that our workers'"), ("memory_limit", "memory limit"),
    ("gpu_memory", "GPU memory in use"),
)  # fmt: skip

Sample = Mapping[str, Any]


def resources_section(
    samples: Sequence[dict[str, Any]],
    events: Sequence[Mapping[str, Any]],
    models: Sequence[ModelState],
    energy: Energy | None = None,
) -> Section:
    """The section, from the samples, the remarkable events, the models and the energy of the run."""
    told = [(event, line[0]) for event in events if (line := log_line(dict(event))) is not None]
    marked = [one for one in told if one[0].get("kind") not in _UNMARKED_DECISIONS]
    decisions = _decisions(told)
    if not samples:
        none = element("p", "No sample of the machine was recorded.")
        return section("resources", "Resources", none, paragraphs(energy_lines(energy)), decisions)
    filled = [_with_gpus(sample) for sample in samples]
    begun = min([filled[0]["time"], *(event["time"] for event, _ in marked)])
    parts = _divided(filled, MOST_SAMPLES)
    record = {
        "panels": [
            {"title": title, "bytes": is_bytes, "lines": [
                {"label": label, "points": _points(parts, name, begun)} for name, label in names
                if any(isinstance(sample.get(name), int | float) for sample in filled)
            ]}
            for title, is_bytes, names in (("Load (percent)", False, _PERCENT), ("Memory", True, _BYTES))
        ],
        "marks": [
            {"at": round(event["time"] - begun, 1), "kind": _kind(event), "text": line}
            for event, line in marked[:MOST_MARKS]
        ],
    }  # fmt: skip
    notes = [_gpu_note(samples)]
    if len(samples) > MOST_SAMPLES:
        drawn = f"{len(samples):,} samples are drawn as {MOST_SAMPLES} points"
        notes.append(f"{drawn}, each with the smallest and the largest value.")
    if len(marked) > MOST_MARKS:
        notes.append(f"Of {len(marked):,} decisions, warnings and failures the first {MOST_MARKS} are marked.")
    return section(
        "resources",
        "Resources",
        element(
            "p", "Load and memory of the machine; upright lines mark decisions, warnings and failures.", class_="about"
        ),
        element("div", element("noscript", "This picture needs JavaScript."), class_="chart", id="resources-chart"),
        paragraphs(filter(None, notes), "note"),
        paragraphs([*gpu_lines(samples, models), *energy_lines(energy)]),
        folded("Table of the samples", _sample_table(_divided(filled, _TABLE_ROWS), begun)),
        decisions,
        data_script("resources-data", record),
    )


def _decisions(told: Sequence[tuple[Mapping[str, Any], str]]) -> Markup | None:
    if not told:
        return None
    lines = [element("li", line, class_=_kind(event)) for event, line in told[:MOST_LINES]]
    left = len(told) - len(lines)
    more = (
        element("p", f"{left:,} more are left out; `forge-tui report --json` has all.", class_="note") if left else None
    )
    return folded(f"Decisions, warnings and failures ({len(told):,})", element("ul", *lines, class_="log"), more)


def _kind(event: Mapping[str, Any]) -> str:
    match event.get("event"):
        case "model_failed":
            return "failure"
        case "resource_warning" | "model_retried":
            return "warning"
    return "decision"


def _with_gpus(sample: Sample) -> Sample:
    """The sample with the mean load and the summed memory of its GPUs."""
    gpus = sample.get("gpus")
    known = [gpu for gpu in gpus if isinstance(gpu, dict)] if isinstance(gpus, list) else []
    loads = [load for gpu in known if isinstance(load := gpu.get("utilization_percent"), int | float)]
    used = [size for gpu in known if isinstance(size := gpu.get("memory_used"), int | float)]
    more = {
        **({"gpu_percent": sum(loads) / len(loads)} if loads else {}),
        **({"gpu_memory": sum(used)} if used else {}),
    }
    return {**sample, **more}


def _gpu_note(samples: Sequence[Sample]) -> str:
    gpus = samples[0].get("gpus")
    count = len(gpus) if isinstance(gpus, list) else 0
    return f"GPU: the mean load and the summed memory of {count} GPUs." if count > 1 else ""


def _divided(samples: Sequence[Sample], most: int) -> list[Sequence[Sample]]:
    """The samples in at most `most` parts of about as many each."""
    parts = min(most, len(samples))
    edges = [place * len(samples) // parts for place in range(parts + 1)]
    return [samples[start:end] for start, end in pairwise(edges)]


def _points(parts: Sequence[Sequence[Sample]], name: str, begun: float) -> list[list[float | None]]:
    """[seconds since `begun`, smallest, largest] of each part."""
    found: list[list[float | None]] = []
    for part in parts:
        values = _values(part, name)
        low, high = (_rounded(min, values), _rounded(max, values))
        found.append([round(part[-1]["time"] - begun, 1), low, high])
    return found


def _values(part: Sequence[Sample], name: str) -> list[float]:
    return [value for sample in part if isinstance(value := sample.get(name), int | float)]


def _rounded(of: Callable[[list[float]], float], values: list[float]) -> float | None:
    return float(f"{of(values):.4g}") if values else None


def _sample_table(parts: Sequence[Sequence[Sample]], begun: float) -> Markup:
    names = [one for one in (*_PERCENT, *_BYTES) if any(_values(part, one[0]) for part in parts)]
    rows: list[list[Cell | str]] = []
    for part in parts:
        at = part[-1]["time"]
        clock = time.strftime("%H:%M:%S", time.localtime(at))
        means = (number_cell(_mean_text(part, name), None) for name, _ in names)
        rows.append([f"{clock} ({duration(at - begun)})", *means])
    return data_table("Means of the samples", ["Time", *(label for _, label in names)], rows)


def _mean_text(part: Sequence[Sample], name: str) -> str:
    values = _values(part, name)
    if not values:
        return UNKNOWN
    mean = sum(values) / len(values)
    return f"{mean:.0f} %" if name.endswith("percent") else memory(mean)
