"""Which samples are for training, validation and test: drawn with the run's seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forge_tui.errors import DataError, SettingsError
from forge_tui.settings.schema import Settings
from forge_tui.tables.split_method import IN_WORDS, method_of
from forge_tui.training.data.targets import Target
from forge_tui.training.data.task import Task


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Row numbers of the splits, int64 in rising order, and what NAME.json says of how they were drawn.

    `test` is empty unless there is a `data.test_fraction`.
    """

    train: Tensor
    validation: Tensor
    record: dict[str, Any]
    test: Tensor = field(default_factory=lambda: torch.arange(0))


def split_at_random(samples: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers of the training and the validation split, each in rising order; at least one row is for training.

    The permutation comes from `seed` (the run's), so that all models of a run share one split.
    """
    held_back = min(round(samples * fraction), samples - 1)
    order = _order(samples, seed)
    return order[held_back:].sort().values, order[:held_back].sort().values


def split_stratified(classes: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """As `split_at_random`, with each class's share in both; every class keeps a row for training.

    `classes`: int64 (N,), the number of each row's class. Of the rows that are left over by rounding, the classes that
    lose most by it have the next one.
    """
    counts = torch.bincount(classes).double()
    wanted = min(round(len(classes) * fraction), len(classes) - 1)
    shares = counts * (wanted / len(classes))
    taken = torch.minimum(shares.floor(), (counts - 1).clamp(min=0))
    room = (counts - 1 - taken).clamp(min=0)
    by_loss = torch.sort(shares - taken, descending=True, stable=True).indices
    left = wanted - int(taken.sum())
    while left > 0 and bool((room > 0).any()):
        for number in by_loss.tolist():
            if left > 0 and room[number] > 0:
                taken[number] += 1
                room[number] -= 1
                left -= 1
    order = _order(len(classes), seed)
    ordered = classes[order]
    # The place of each row among those of its class, in the drawn order.
    grouped = torch.sort(ordered, stable=True).indices
    sizes = torch.bincount(ordered, minlength=len(counts))
    begin = torch.cumsum(sizes, 0) - sizes
    rank = torch.empty_like(order)
    rank[grouped] = torch.arange(len(order)) - begin[ordered[grouped]]
    held = rank < taken.long()[ordered]
    return order[~held].sort().values, order[held].sort().values


def split_in_order(samples: int, fraction: float) -> tuple[Tensor, Tensor]:
    """The last rows are for validation: what is predicted comes later."""
    held_back = min(round(samples * fraction), samples - 1)
    return torch.arange(samples - held_back), torch.arange(samples - held_back, samples)


def split_by_group(groups: np.ndarray, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Whole groups (numbers of groups, int64 (N,)) are for validation, until as many rows as wanted are nearest.

    Raises `DataError` for a single group.
    """
    counts = np.bincount(groups)
    if len(counts) < 2:
        raise DataError("data.group has one value in every row; at least 2 groups are needed, one for each split")
    wanted, held, taken = round(len(groups) * fraction), 0, np.zeros(len(counts), dtype=bool)
    for group in _order(len(counts), seed).tolist():
        if abs(held + counts[group] - wanted) < abs(held - wanted) and taken.sum() < len(counts) - 1:
            taken[group] = True
            held += counts[group]
    rows = torch.from_numpy(taken[groups])
    return (~rows).nonzero().reshape(-1), rows.nonzero().reshape(-1)


def choose_split(
    settings: Settings, samples: int, target: Target | None, version: int, groups: np.ndarray | None = None
) -> Split:
    """The split as `data.split` says, of `samples` with a target (None: not needed).

    A test split (`data.test_fraction`) is drawn first, from all samples, then the validation split from the others, in
    the same way. `groups`: int64 (N,) of `data.group`. Version 1 of reading data drew every split at random. Raises
    `SettingsError` for a way that does not fit the data, and for fractions that leave nothing to train on.
    """
    data = settings.data
    method = _method(settings, target, version, groups)
    validation, test = data.validation_fraction, data.test_fraction
    require_rest(validation, test)
    draw = partial(_drawn, method, seed=settings.run.seed)
    words, seed = IN_WORDS[method], None if method == "ordered" else settings.run.seed
    if not test:
        return recorded(words, draw(samples, target, groups, validation), validation, seed)
    if method == "group" and validation and groups is not None and len(np.unique(groups)) < 3:
        raise DataError("data.group has fewer than 3 different values, and three splits need one group each")
    others, held = draw(samples, target, groups, test)
    parts = others, others[:0]
    if validation:
        of_others = (None if target is None else target.of_rows(others), _renumbered(groups, others))
        train, chosen = draw(len(others), *of_others, validation * samples / len(others))
        parts = others[train], others[chosen]
    return with_test(recorded(words, parts, validation, seed), held, test)


def require_rest(validation: float, test: float) -> None:
    """Raise `SettingsError` for fractions that leave nothing to train on."""
    if validation + test >= 1:
        raise SettingsError(
            f"data.validation_fraction {validation:g} and data.test_fraction {test:g} leave nothing to train on; "
            "together they must be below 1"
        )


def hold_out_test(settings: Settings, split: Split, target: Target, version: int = 2) -> Split:
    """A split that the data gives, with a test split drawn from its training rows (`data.test_fraction` of all)."""
    fraction, samples = settings.data.test_fraction, len(split.train) + len(split.validation)
    if not fraction:
        return split
    wanted = fraction * samples / len(split.train)
    if wanted >= 1:
        raise SettingsError(
            f"data.test_fraction {fraction:g} of {samples:,} rows leaves none of the {len(split.train):,} rows for "
            "training; take less"
        )
    of_train = target.of_rows(split.train)
    method = _method(settings, of_train, version, None)
    train, test = _drawn(method, len(split.train), of_train, None, wanted, seed=settings.run.seed)
    kept = {**split.record, "train_samples": len(train)}
    return with_test(replace(split, train=split.train[train], record=kept), split.train[test], fraction)


def with_test(split: Split, test: Tensor, fraction: float) -> Split:
    """A split with the rows of a test split, and its record."""
    return replace(split, test=test, record={**split.record, **test_record(len(test), fraction)})


def test_record(samples: int, fraction: float) -> dict[str, Any]:
    """What the record of a split says of a test split; nothing without one."""
    return {"test_samples": samples, "test_fraction": fraction} if fraction else {}


def _method(settings: Settings, target: Target | None, version: int, groups: np.ndarray | None) -> str:
    """How the splits are drawn. Raises `SettingsError` for a way that does not fit the data."""
    is_classes = target is not None and target.task is Task.CLASSIFICATION
    wanted = settings.data.split if version > 1 else "random"
    method = method_of(wanted, has_groups=groups is not None, is_classes=is_classes)
    if groups is not None and method != "group":
        raise SettingsError(f"data.split = {method}, and data.group names groups; take only one of the two")
    if method == "group" and groups is None:
        raise SettingsError("data.split = group: name the column of the groups with data.group")
    if method == "stratified" and not is_classes:
        raise SettingsError("data.split = stratified: the target is not one of classes; take data.split = random")
    return method


def _drawn(
    method: str, samples: int, target: Target | None, groups: np.ndarray | None, fraction: float, *, seed: int
) -> tuple[Tensor, Tensor]:
    """The rows that stay, and those that are held back, drawn by a `_method`."""
    match method:
        case "group":
            assert groups is not None
            return split_by_group(groups, fraction, seed)
        case "stratified":
            assert target is not None
            return split_stratified(target.values, fraction, seed)
        case "ordered":
            return split_in_order(samples, fraction)
    return split_at_random(samples, fraction, seed)


def _renumbered(groups: np.ndarray | None, rows: Tensor) -> np.ndarray | None:
    """The groups of some rows, numbered without gaps."""
    return None if groups is None else np.unique(groups[rows.numpy()], return_inverse=True)[1].reshape(-1)


def recorded(method: str, parts: tuple[Tensor, Tensor], fraction: float | None, seed: int | None) -> Split:
    """A split with its record."""
    train, validation = parts
    record = {
        "method": method,
        "seed": seed,
        "train_samples": len(train),
        "validation_samples": len(validation),
        "validation_fraction": fraction,
    }
    return Split(train=train, validation=validation, record=record)


def _order(samples: int, seed: int) -> Tensor:
    return torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
