"""The GPUs during a run, for its report: from the samples recorded with it, and from where its models were trained."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from forge_tui.protocol.model_state import ModelState
from forge_tui.text.device_names import placed_gpus
from forge_tui.text.figures import memory

_MOST_NAMED = 4
_MOST_SAMPLES = 1_000_000


@dataclass(slots=True)
class _Course:
    """What was measured of one GPU, in the order of the samples."""

    title: str
    uuid: str
    total: float | None = None
    used: list[float] = field(default_factory=list)
    busy: list[tuple[float, int]] = field(default_factory=list)
    degrees: list[float] = field(default_factory=list)
    problem: str | None = None


def gpu_lines(samples: Iterable[dict[str, Any]], models: Sequence[ModelState]) -> list[str]:
    """A line for each GPU that the samples or the models know: mean use, most memory and heat, and its last models.

    The samples may be from a directory from elsewhere: what is not as this program writes it is left out.
    """
    courses: dict[str, _Course] = {}
    for sample in samples:
        gpus = sample.get("gpus")
        for record in gpus if isinstance(gpus, list) else ():
            if isinstance(record, dict):
                _add(courses, record, samples_in(sample))
    trained: dict[str, list[str]] = {}
    for model in models:
        for uuid in placed_gpus(model.place):
            trained.setdefault(uuid, []).append(model.name)
            courses.setdefault(uuid, _Course("GPU", uuid))
    return [_line(course, trained.get(course.uuid, [])) for course in courses.values()]


def samples_in(record: dict[str, Any]) -> int:
    """For how many samples of the machine a record of `resources` stands: the weight of its means."""
    found = record.get("samples", 1)
    return found if type(found) is int and 0 < found <= _MOST_SAMPLES else 1


def _add(courses: dict[str, _Course], record: dict[str, Any], samples: int) -> None:
    index, name, uuid, problem, host = (record.get(key) for key in ("index", "name", "uuid", "problem", "host"))
    known = uuid if isinstance(uuid, str) and uuid else f"GPU {index}"
    title = f"GPU {index} {name}" if isinstance(index, int) and isinstance(name, str) else "GPU"
    title = f"{host}: {title}" if isinstance(host, str) else title
    course = courses.setdefault(known, _Course(title, known))
    if (busy := _number(record.get("utilization_percent"))) is not None:
        course.busy.append((busy, samples))
    for values, key in ((course.used, "memory_used"), (course.degrees, "temperature")):
        if (value := _number(record.get(key))) is not None:
            values.append(value)
    course.total = _number(record.get("memory_total")) or course.total
    course.problem = problem if isinstance(problem, str) else None


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) <= 1e18 else None


def _line(course: _Course, models: list[str]) -> str:
    parts = []
    if course.busy:
        parts.append(f"{statistics.fmean(*zip(*course.busy, strict=True)):.0f} % busy on average")
    if course.used:
        of = "" if course.total is None else f" of {memory(course.total)}"
        parts.append(f"at most {memory(max(course.used))}{of} in use")
    if course.degrees:
        parts.append(f"at most {max(course.degrees):.0f} °C")
    if models:
        more = f" and {len(models) - _MOST_NAMED} more" if len(models) > _MOST_NAMED else ""
        parts.append(f"last trained {', '.join(models[:_MOST_NAMED])}{more}")
    if course.problem is not None:
        parts.append(course.problem)
    uuid = f" ({course.uuid})" if course.uuid.startswith(("GPU-", "MIG-")) else ""
    return f"{course.title}{uuid}: {', '.join(parts) or 'no figures'}"
