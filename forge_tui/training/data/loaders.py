"""The samples of torch's Datasets and DataLoaders. Training makes the batches itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
    default_convert,
)

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named

_ADVICE = (
    "of Datasets and DataLoaders give one, or two, for training and validation; "
    "tensors go as (inputs, targets) or a dict"
)


def samples_of(given: Any, source: str) -> tuple[Any, ...] | None:
    """The samples of a DataLoader from a dataset function; two, for training and validation, of a pair.

    A pair may also be of Datasets. The items are samples (input, target); None if there is neither a DataLoader nor a
    pair of Datasets. Raises `DataError` for those without a fixed set of samples, and for other containers of these.
    """
    if isinstance(given, DataLoader):
        return (_unwrapped(given, source),)
    if isinstance(given, Mapping):
        for name, value in given.items():
            if isinstance(value, DataLoader | Dataset):
                raise DataError(f"{named(source)} gives a {type(value).__name__} as {name!r}; {_ADVICE}")
    if not isinstance(given, tuple | list):
        return None
    found = [value for value in given if isinstance(value, DataLoader | Dataset)]
    if not found:
        return None
    if len(found) != len(given) or len(found) != 2:
        raise DataError(
            f"{named(source)} gives a {type(given).__name__} with a {type(found[0]).__name__} in it; {_ADVICE}"
        )
    return tuple(_unwrapped(value, source) if isinstance(value, DataLoader) else value for value in found)


def _unwrapped(loader: DataLoader[Any], source: str) -> Any:
    """The loader's dataset, or the subset that its sampler selects."""
    if loader.collate_fn not in (default_collate, default_convert):
        name = getattr(loader.collate_fn, "__name__", type(loader.collate_fn).__name__)
        raise DataError(
            f"{named(source)} gives a DataLoader with a collate_fn of its own ({named(name)}), which makes the "
            "batches; batches are made by the training: do in the dataset's __getitem__ what it does, or give tensors "
            "(inputs, targets)"
        )
    if isinstance(loader.dataset, IterableDataset):
        return loader.dataset
    batches = loader.batch_sampler
    if batches is not None and type(batches) is not BatchSampler:
        raise _selects(batches, source)
    sampler = loader.sampler if batches is None else batches.sampler
    if type(sampler) is SubsetRandomSampler:
        return Subset(loader.dataset, list(sampler.indices))
    in_order = type(sampler) is SequentialSampler
    shuffled = type(sampler) is RandomSampler and not sampler.replacement
    if not (in_order or shuffled) or len(sampler) != len(loader.dataset):  # type: ignore[arg-type]
        raise _selects(sampler, source)
    return loader.dataset


def _selects(sampler: Any, source: str) -> DataError:
    rare = " (for rare classes there is --class-weights balanced)" if type(sampler) is WeightedRandomSampler else ""
    return DataError(
        f"{named(source)} gives a DataLoader whose sampler ({type(sampler).__name__}) decides which samples are seen, "
        "and how often; give the samples themselves: a Dataset (a part of one as torch.utils.data.Subset), or tensors "
        f"(inputs, targets){rare}"
    )
