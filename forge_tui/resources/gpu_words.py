"""GPUs in words: their figures, and who is on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from forge_tui.resources.gpu_users import GpuUser
from forge_tui.resources.gpus import Gpu

_GIB = 2**30
_MOST_WORKERS = 4


def labels(gpus: Iterable[Gpu]) -> list[str]:
    """What each is called on a screen: its index, and for MIG instances also their number: `0`, `1.0`, `1.1`."""
    instances: Counter[int] = Counter()
    found = []
    for gpu in gpus:
        if gpu.parent is None:
            found.append(str(gpu.index))
            continue
        found.append(f"{gpu.index}.{instances[gpu.index]}")
        instances[gpu.index] += 1
    return found


def short_name(gpu: Gpu) -> str:
    """Its name without the maker's."""
    return gpu.name.removeprefix("NVIDIA ")


def figures(gpu: Gpu) -> str:
    """`41.2 of 80.0 GiB in use, 63 % busy, 54 °C`, as far as they are known."""
    parts = []
    if gpu.memory_total:
        parts.append(f"{gpu.memory_used / _GIB:.1f} of {gpu.memory_total / _GIB:.1f} GiB in use")
    if gpu.utilization_percent is not None:
        parts.append(f"{gpu.utilization_percent:.0f} % busy")
    if gpu.temperature is not None:
        parts.append(f"{gpu.temperature:.0f} °C")
    return ", ".join(parts) or "the driver reports no figures"


def users_in_words(users: Sequence[GpuUser] | None, run: str | None = None) -> str:
    """`planner_1, planner_2 of run 20261123-…; bob: 2 processes`; empty if there are none, or they are unknown.

    Workers of `run` are named without it.
    """
    if not users:
        return ""
    by_run: dict[str, list[str]] = {}
    others: Counter[str | None] = Counter()
    for user in users:
        if user.run is None or user.models is None:
            others[user.user] += 1
        elif user.models not in by_run.setdefault(user.run, []):
            by_run[user.run].append(user.models)
    parts = []
    for name, models in by_run.items():
        more = f" and {len(models) - _MOST_WORKERS} more" if len(models) > _MOST_WORKERS else ""
        parts.append(", ".join(models[:_MOST_WORKERS]) + more + ("" if name == run else f" of run {name}"))
    for owner, count in others.items():
        parts.append(f"{owner or 'unknown user'}: {count} process{'es' * (count > 1)}")
    return "; ".join(parts)


def users_in_short(users: Sequence[GpuUser] | None) -> str:
    """The same in a few cells: `5 ours`, `bob`, `5+2` (ours and others'), `idle`; `?` if the driver does not say."""
    if users is None:
        return "?"
    if not users:
        return "idle"
    ours = sum(user.run is not None for user in users)
    others = Counter(user.user for user in users if user.run is None)
    if not others:
        return f"{ours} ours"
    if ours:
        return f"{ours}+{others.total()}"
    (owner, _), *_ = others.most_common(1)
    return (owner or "?") if len(others) == 1 else "others"
