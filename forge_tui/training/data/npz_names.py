"""Which arrays of a .npz archive are features and targets, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.tables.table import listed

# In the order of preference; compared without case.
_PAIRS = (
    ("features", "targets"), ("features", "labels"), ("x", "y"), ("data", "target"), ("data", "targets"),
    ("data", "labels"), ("inputs", "targets"), ("images", "labels"), ("arr_0", "arr_1"),
)  # fmt: skip
_TRAINING = (("x_train", "y_train"), ("train_x", "train_y"), ("train_images", "train_labels"))
_VALIDATION = ("val", "valid", "validation", "test")


@dataclass(frozen=True, slots=True)
class Arrays:
    """The names of the arrays; those for validation are None if the archive has no split of its own."""

    features: str
    targets: str
    validation_features: str | None = None
    validation_targets: str | None = None

    def all(self) -> tuple[str, ...]:
        """Each name."""
        every = (self.features, self.targets, self.validation_features, self.validation_targets)
        return tuple(name for name in every if name is not None)


def choose_arrays(path: Path, files: Sequence[str], features: str | None, target: str | None) -> Arrays:
    """The arrays of an archive; `features` and `target` are those of the settings. Raises `DataError`."""
    for name, setting in ((features, "data.features_array"), (target, "--target")):
        if name is not None and name not in files:
            raise DataError(f"{named(path)} has no array {name!r} ({setting}); there are {listed(files) or 'none'}")
    known = {name.lower(): name for name in reversed(files)}
    if features is None and target is None:
        for pair in _TRAINING:
            if all(name in known for name in pair):
                return _with_split(known, pair)
    for one, other in _PAIRS:
        of_features, of_target = features or known.get(one), target or known.get(other)
        if of_features is not None and of_target is not None and of_features != of_target:
            if {features, target} == {None} and (one, other) == ("features", "targets"):
                return _with_validation(known, of_features, of_target)
            return Arrays(of_features, of_target)
    if target is not None and target.lower() in {one for one, _ in _PAIRS} and features is None:
        raise DataError(f"{named(path)}: --target {named(target)} names the features; name the array to predict")
    missing = "features" if features is None and not any(one in known for one, _ in _PAIRS) else "targets"
    how = "data.features_array" if missing == "features" else "--target"
    raise DataError(
        f"{named(path)} has no array {missing!r} (nor one of another usual name, such as x and y); name it with {how}: "
        f"there are {listed(files) or 'none'}"
    )


def features_name(path: Path, files: Sequence[str], name: str | None) -> str:
    """The array of features, with or without targets: `name`, or the first of a usual name. Raises `DataError`."""
    known = {one.lower(): one for one in reversed(files)}
    usual = [one for one, _ in (*_PAIRS, *_TRAINING)]
    found = name if name in files else next((known[one] for one in usual if one in known), None)
    if found is None:
        raise DataError(
            f"{named(path)} has no array 'features' (nor one of another usual name, such as x); there are "
            f"{listed(files) or 'none'}"
        )
    return found


def _with_split(known: dict[str, str], pair: tuple[str, str]) -> Arrays:
    """The arrays of a pair with `train` in its names, and of the first one with another word there."""
    features, targets = pair
    for word in _VALIDATION:
        held = tuple(known.get(name.replace("train", word)) for name in pair)
        if None not in held:
            return Arrays(known[features], known[targets], *held)
    return Arrays(known[features], known[targets])


def _with_validation(known: dict[str, str], features: str, targets: str) -> Arrays:
    held = known.get("validation_features"), known.get("validation_targets")
    return Arrays(features, targets) if None in held else Arrays(features, targets, *held)
