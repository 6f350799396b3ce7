"""Groups of models that train together in one worker: fixed at the start, kept by retry and resume. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace

from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.runs import run_models
from forge_tui.settings.schema import Settings

Group = tuple[int, ...]
"""Indexes of models that train together; a single one is a group too."""


def width(settings: Settings) -> int:
    """The maximum number of models per group: `[engine] fuse`; one in series mode, or before it is chosen."""
    fuse = settings.engine.fuse
    return fuse if settings.training.training_mode == "parallel" and fuse != "auto" else 1


def settled(settings: Settings, fuse: int) -> Settings:
    """The settings with the number chosen for `auto`, which retry and resume keep."""
    return replace(settings, engine=replace(settings.engine, fuse=fuse)) if settings.engine.fuse == "auto" else settings


def group_count(settings: Settings) -> int:
    """The number of groups of the run, the most workers that it can use."""
    return run_models.kinds(settings) * -(-run_models.of_a_kind(settings) // width(settings))


def queued(
    models: Iterable[ModelState], most: int, likeness: Callable[[int], Hashable] = lambda index: None
) -> list[Group]:
    """The groups of queued models, at most `most` models each, in order; all of a group have the same `likeness`.

    A started model stays with its group, or alone (one that left its group is at another step). Others are grouped
    with their neighbours.
    """
    ordered = sorted(models, key=lambda model: model.index)
    neighbours = _neighbours(ordered, most, likeness)
    groups: dict[tuple[str, ...], list[int]] = {}
    for model in ordered:
        if model.phase is TrainingPhase.QUEUED:
            alone = model.started is not None or model.attempt > 1
            groups.setdefault(model.group or ((model.name,) if alone else neighbours[model.name]), []).append(
                model.index
            )
    return [tuple(group) for group in groups.values()]


def _neighbours(
    ordered: Sequence[ModelState], most: int, likeness: Callable[[int], Hashable]
) -> dict[str, tuple[str, ...]]:
    """For each model the names of the group that it would be started with."""
    alike: dict[Hashable, list[str]] = {}
    for model in ordered:
        alike.setdefault(likeness(model.index), []).append(model.name)
    found: dict[str, tuple[str, ...]] = {}
    for names in alike.values():
        for first in range(0, len(names), most):
            together = tuple(names[first : first + most])
            found.update(dict.fromkeys(together, together))
    return found


def halves(group: Group) -> list[Group]:
    """Two groups in place of one."""
    middle = (len(group) + 1) // 2
    return [group[:middle], group[middle:]]
