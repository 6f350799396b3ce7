"""Checks on the fields of NAME.json that readers compute with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.metrics import is_metric_table
from forge_tui.protocol.record_fields import is_number, is_whole
from forge_tui.settings.problems import shown

_Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_table(value: Any) -> bool:
    return type(value) is dict


def _are(check: _Check) -> _Check:
    return lambda value: type(value) is list and all(map(check, value))


def _or_none(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


def _is_token(value: Any) -> bool:
    return type(value) is str and value != ""


def _is_scale(value: Any) -> bool:
    """Figures of a normalisation: None, a number, numbers, or lists of these for samples of a shape."""
    return value is None or is_number(value) or (isinstance(value, list) and all(map(_is_scale, value)))


_CHECKS: dict[str, _Check] = {
    "config": _is_table,
    "settings": _is_table,
    "seed": is_whole,
    "parameters": _or_none(is_whole),
    "task": _or_none(_is_text),
    "features": _or_none(_are(_is_text)),
    "vocabulary": _or_none(lambda value: bool(value) and _are(_is_token)(value) and len(set(value)) == len(value)),
    "sequence_length": _or_none(lambda value: is_whole(value) and value > 0),
    "outputs": _or_none(is_whole),
    "input_shape": _or_none(_are(is_whole)),
    "normalisation": _or_none(lambda value: _is_table(value) and all(map(_is_scale, value.values()))),
    "split": _or_none(_is_table),
    "loss": _or_none(is_number),
    "validation": _is_table,
    "baseline": is_metric_table,
    "epochs_completed": is_whole,
    "best_epoch": _or_none(is_whole),
    "history": _are(_is_table),
    "seconds": _or_none(is_number),
    "sha256": _or_none(_is_text),
    "code": _or_none(_is_table),
    "code_roots": _or_none(_is_table),
    "code_modules": _or_none(_is_table),
}


def check_fields(record: Mapping[str, Any], path: object) -> None:
    """Raise `RunDirectoryError`, naming `path`, for a value that is never written.

    Missing fields are not checked here: earlier versions did not write all of them.
    """
    for name, check in _CHECKS.items():
        if name in record and not check(record[name]):
            raise RunDirectoryError(
                f"{path} is damaged: {name} = {shown(record[name])} is never written; restore a copy, or train the "
                "model again"
            )
