"""Converts the result of a custom dataset function into a `Dataset`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.tables.encoder import Encoder
from forge_tui.training.data.dataset import (
    Dataset,
    Task,
    check_sample_count,
    fit_scale,
    normalisation_of,
)
from forge_tui.training.data.fingerprint import content_digest, split_digest
from forge_tui.training.data.frame_data import parts_dataset, whole_table_dataset
from forge_tui.training.data.frames import dense, is_column, is_frame, needs_table, plain_array
from forge_tui.training.data.loaders import samples_of
from forge_tui.training.data.split import Split, choose_split, hold_out_test
from forge_tui.training.data.targets import Target, make_target

_PARTS = ("inputs", "targets", "validation_inputs", "validation_targets")
_NAMES = {*_PARTS, "vocabulary", "classes"}
_SHAPES = "give (inputs, targets), or a dict with them, or samples (input, target) one by one"


def own_dataset(given: Any, settings: Settings, version: int = 2, encoder: Encoder | None = None) -> Dataset:
    """A dataset from tensors, arrays, a `torch.utils.data.Dataset` or any iterable of samples (input, target).

    `given` is (inputs, targets), or those and (validation_inputs, validation_targets), or two Datasets, for training
    and validation; for a DataLoader its dataset is used. Or it is a dict with these names and, optionally, `vocabulary`
    (the number of tokens, or their names: inputs are then tokens) and `classes` (their names). Without a validation
    split one is made with the run's seed. Samples are read once and kept as tensors.

    Inputs (N, …) become float32, or int64 (N, T) for tokens. Targets: whole numbers, booleans or text (N,) as decided
    by `targets.is_classification`, else float32 (N, …); with `vocabulary` int64 (N, T), the next tokens. Raises
    `DataError` naming dataset, sample and what is allowed.
    """
    source = f"--dataset {settings.training.dataset}"
    if is_frame(given):
        return whole_table_dataset(given, source, settings, encoder)
    parts = {name: dense(part) for name, part in _parts(given, source).items()}
    if needs_table(parts["inputs"]) or (is_column(parts["targets"]) and np.ndim(parts["inputs"]) == 2):
        return parts_dataset(parts, source, settings, encoder)
    tokens = _tokens(parts.get("vocabulary"), source)
    inputs = _inputs(parts["inputs"], f"{source}: inputs", tokens)
    check_sample_count(len(inputs), source)
    split_given = parts.get("validation_inputs") is not None
    held = _inputs(parts["validation_inputs"], f"{source}: validation_inputs", tokens) if split_given else None
    if held is not None and held.shape[1:] != inputs.shape[1:] and tokens is None:
        raise DataError(
            f"{named(source)}: training samples have the shape {tuple(inputs.shape[1:])}, validation samples "
            f"{tuple(held.shape[1:])}; they must be alike"
        )
    targets = [_array(parts["targets"], f"{source}: targets")]
    if held is not None:
        targets.append(_array(parts["validation_targets"], f"{source}: validation_targets"))
    for samples, wanted, part in zip((inputs, held), targets, ("", "validation_"), strict=False):
        if samples is not None and len(wanted) != len(samples):
            raise DataError(
                f"{named(source)}: {len(samples)} {part}inputs and {len(wanted)} {part}targets; each sample has one of "
                "both"
            )
    task, values, outputs, classes = _targets(
        targets, source, inputs, tokens, parts.get("classes"), settings.data.task, version
    )
    target, count = Target(task=task, values=values, outputs=outputs, classes=classes), len(inputs)
    if held is not None:
        all_inputs = torch.cat((inputs, held))
        both = torch.arange(count), torch.arange(count, len(all_inputs))
        given = Split(train=both[0], validation=both[1], record={"method": "given by the dataset"})
        chosen = hold_out_test(settings, given, target, version)
    else:
        all_inputs = inputs
        chosen = choose_split(settings, len(inputs), target, version)
    train, validation, test = chosen.train, chosen.validation, chosen.test
    normalisation = None
    if tokens is None and settings.data.normalise:
        scale = fit_scale(all_inputs[train], settings.data.scaling)
        normalisation = normalisation_of(task, scale, values[train])
    flat = tokens is None and all_inputs.dim() == 2
    return Dataset(
        task=task,
        train_inputs=all_inputs[train],
        train_targets=values[train],
        validation_inputs=all_inputs[validation] if len(validation) else None,
        validation_targets=values[validation] if len(validation) else None,
        outputs=outputs,
        features=tuple(f"x{number}" for number in range(1, all_inputs.shape[1] + 1)) if flat else (),
        target="target",
        classes=classes,
        vocabulary=tokens,
        normalisation=normalisation,
        split={**chosen.record, "train_samples": len(train), "validation_samples": len(validation)},
        # Splits provided by the dataset are hashed as they are (`fingerprint.of_tensors`).
        split_sha256=split_digest(train, validation, test) if held is None else None,
        content_sha256=content_digest(all_inputs, values, classes, tokens) if held is None else None,
        test_inputs=all_inputs[test] if len(test) else None,
        test_targets=values[test] if len(test) else None,
        validation_rows=validation + 1 - (0 if held is None else count),  # numbered as they are given
        test_rows=test + 1,
    )


def _parts(given: Any, source: str) -> dict[str, Any]:
    samples = samples_of(given, source)
    if samples is not None:
        found = [_read(one, source) for one in samples]
        parts = dict(zip(_PARTS, [part for one in found for part in one.values()], strict=False))
    elif isinstance(given, Mapping):
        parts = dict(given)
    elif isinstance(given, tuple | list) and len(given) in (2, 4) and not _are_samples(given):
        parts = dict(zip(_PARTS, _in_order(given), strict=False))
    elif isinstance(given, Tensor | np.ndarray | str | bytes) or given is None:
        raise DataError(f"{named(source)} gives {_kind(given)}; {_SHAPES}")
    else:
        parts = _read(given, source)
    unknown = [str(name) for name in parts if name not in _NAMES]
    if unknown:
        raise DataError(f"{named(source)} gives a part {unknown[0]!r}; there are {', '.join(sorted(_NAMES))}")
    for name in ("inputs", "targets"):
        if parts.get(name) is None:
            raise DataError(f"{named(source)} gives no {named(name)}; {_SHAPES}")
    if (parts.get("validation_inputs") is None) != (parts.get("validation_targets") is None):
        raise DataError(
            f"{named(source)} gives validation_inputs or validation_targets without the other; give both or none"
        )
    return parts


def _in_order(given: Sequence[Any]) -> Sequence[Any]:
    """Inputs and targets of either split, also from the order of scikit-learn's `train_test_split`."""
    if len(given) != 4 or any(part is None or not hasattr(part, "__len__") for part in given):
        return given
    first, second, third, fourth = given
    if len(first) != len(third) or len(second) != len(fourth):
        return given
    if len(first) == len(second):  # halves: the dimensions tell
        dimensions = [np.ndim(part) for part in given]
        if not (dimensions[0] == dimensions[1] > dimensions[2] == dimensions[3]):
            return given
    return first, third, second, fourth


def _are_samples(given: tuple[Any, ...] | list[Any]) -> bool:
    """Whether a short sequence consists of samples (input, target), not of (inputs, targets)."""
    return isinstance(given, list) and all(isinstance(one, tuple) for one in given)


def _read(given: Any, source: str) -> dict[str, Any]:
    """All samples of a dataset or an iterable."""
    is_stream = isinstance(given, IterableDataset)  # it may have a length, but no indexing
    if not is_stream and hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        samples: Iterable[Any] = (given[number] for number in range(len(given)))
    elif hasattr(given, "__iter__") or hasattr(given, "__next__"):
        samples = given
    else:
        raise DataError(f"{named(source)} gives {_kind(given)}; {_SHAPES}")
    inputs: list[Any] = []
    targets: list[Any] = []
    for number, sample in zip(itertools.count(1), samples):
        if not isinstance(sample, tuple | list) or len(sample) != 2:
            raise DataError(f"{named(source)}: sample {number} is {_kind(sample)}; each must be (input, target)")
        inputs.append(sample[0])
        targets.append(sample[1])
    if not inputs:
        raise DataError(f"{named(source)} has no samples; give a dataset with at least one")
    return {"inputs": _together(inputs, f"{source}: input"), "targets": _together(targets, f"{source}: target")}


def _together(values: list[Any], source: str) -> Any:
    """The samples along a new first axis."""
    if isinstance(values[0], str | bytes | np.str_):
        return plain_array(np.array(values))
    tensors = []
    for number, value in enumerate(values, 1):
        try:
            tensors.append(value if isinstance(value, Tensor) else torch.as_tensor(plain_array(np.asarray(value))))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{named(source)} {number} is {_kind(value)}, which is no number or array of numbers ({error})"
            ) from None
    for number, tensor in enumerate(tensors, 1):
        if tensor.shape != tensors[0].shape:
            raise DataError(
                f"{named(source)} {number} has the shape {tuple(tensor.shape)}, the first one "
                f"{tuple(tensors[0].shape)}; all must be alike"
            )
    return torch.stack(tensors)


def _array(value: Any, source: str) -> np.ndarray:
    """A NumPy array (N, …) of numbers, booleans or text."""
    try:
        array = _of_tensor(value) if isinstance(value, Tensor) else plain_array(np.asarray(value))
        if array.dtype.kind == "O" and array.size and all(isinstance(one, str) for one in array.flat):
            array = array.astype(str)
    except (ValueError, TypeError) as error:
        raise DataError(f"{named(source)} cannot be read as an array: {error}") from None
    if array.ndim == 0 or array.dtype.kind not in "fiubU":
        raise DataError(f"{named(source)}: {_kind(value)} of {array.dtype}; give an array (N, …) of numbers or text")
    return array


def _of_tensor(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16 and no float8.
    narrow = tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64)
    found: np.ndarray = (tensor.float() if narrow else tensor).numpy()
    return found


def _tokens(vocabulary: Any, source: str) -> tuple[str, ...] | None:
    if vocabulary is None:
        return None
    if isinstance(vocabulary, int) and not isinstance(vocabulary, bool) and vocabulary > 0:
        return tuple(str(number) for number in range(vocabulary))
    if isinstance(vocabulary, tuple | list) and vocabulary and all(isinstance(one, str) for one in vocabulary):
        return tuple(vocabulary)
    raise DataError(f"{named(source)}: vocabulary must be the number of tokens, or a list of their names")


def _inputs(value: Any, source: str, tokens: tuple[str, ...] | None) -> Tensor:
    array = _array(value, source)
    if tokens is not None:
        if array.dtype.kind not in "iu" or array.ndim != 2:
            raise DataError(f"{named(source)} are {array.dtype} {array.shape}; tokens are whole numbers (N, T)")
        _check_tokens(array, tokens, source)
        return torch.from_numpy(array.astype(np.int64))
    if array.dtype.kind == "U" or array.ndim < 2:
        raise DataError(f"{named(source)} are {array.dtype} {array.shape}; inputs are numbers, (N, features) or (N, …)")
    found = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    finite = torch.isfinite(found.flatten(1)).all(dim=1)
    if not bool(finite.all()):
        sample = int((~finite).nonzero()[0, 0]) + 1
        raise DataError(
            f"{named(source)}: sample {sample} holds a value that is NaN, infinite or beyond ±3.4e38; remove it"
        )
    return found


def _check_tokens(values: np.ndarray, tokens: tuple[str, ...], source: str) -> None:
    if values.size and not 0 <= values.min() <= values.max() < len(tokens):
        raise DataError(
            f"{named(source)} hold tokens {values.min()} to {values.max()}; allowed are 0 to {len(tokens) - 1}"
        )


def _targets(
    parts: list[np.ndarray],
    source: str,
    inputs: Tensor,
    tokens: tuple[str, ...] | None,
    classes: Any,
    task: str,
    version: int,
) -> tuple[Task, Tensor, int, tuple[str | int | float | bool, ...] | None]:
    """Task, values of all parts, outputs and class names."""
    if len({part.shape[1:] for part in parts}) > 1:
        raise DataError(f"{named(source)}: training and validation targets have different shapes; they must be alike")
    values = np.concatenate(parts)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0, 0]) + 1
        raise DataError(f"{named(source)}: target {row} is NaN or infinite; remove the sample")
    if tokens is not None and values.ndim > 1:
        if values.dtype.kind not in "iu" or values.shape[1:] != tuple(inputs.shape[1:]):
            shape = f"{values.dtype} {values.shape}"
            raise DataError(f"{named(source)}: targets are {shape}; next tokens are whole numbers of the inputs' shape")
        _check_tokens(values, tokens, f"{source}: targets")
        return Task.NEXT_TOKEN, torch.from_numpy(values.astype(np.int64)), len(tokens), None
    if version > 1 and tokens is None and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if classes is not None:
        return _named_classes(values, classes, source)
    if values.ndim > 2:
        return Task.REGRESSION, torch.from_numpy(values.astype(np.float32)), values.shape[-1], None
    found = make_target(values, f"{source}: targets", task, version=version)
    return found.task, found.values, found.outputs, found.classes


def _named_classes(
    values: np.ndarray, classes: Any, source: str
) -> tuple[Task, Tensor, int, tuple[str | int | float | bool, ...]]:
    if not isinstance(classes, tuple | list) or not classes:
        raise DataError(f"{named(source)}: classes must be a list of their names")
    if values.ndim != 1 or values.dtype.kind not in "iu" or not 0 <= values.min() <= values.max() < len(classes):
        raise DataError(f"{named(source)}: with classes, targets are their numbers (N,), 0 to {len(classes) - 1}")
    return Task.CLASSIFICATION, torch.from_numpy(values.astype(np.int64)), len(classes), tuple(classes)


def _kind(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"an array of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
