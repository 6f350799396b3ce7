"""How settings name custom functions, and which values those may get. Nothing is imported here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

OWN = ("model_type", "dataset", "loss", "metric", "train")
"""The fields of `TrainingConfig` that may name a custom function."""
OWN_CODE = "module:function or file.py:function"
_OWN_CODE = re.compile(r"(?P<place>[A-Za-z_][\w.]*|.*\.py)(?::(?P<function>[A-Za-z_]\w*))?", re.DOTALL)


def named_function(text: str) -> tuple[str, str | None] | None:
    """The module or `.py` file and the function in a text such as `net.py:model`; None if it names none.

    A file without a function stands for its function with the default name.
    """
    found = _OWN_CODE.fullmatch(text)
    if found is None or (found["function"] is None and not text.endswith(".py")):
        return None
    return found["place"], found["function"]


def free_value_problem(value: Any) -> str | None:
    """What is wrong with a value for a custom function, or None."""
    try:
        return _free_value_problem(value)
    except RecursionError:
        return "is nested too deeply, or contains itself"


def _free_value_problem(value: Any) -> str | None:
    if isinstance(value, bool | str) or (isinstance(value, int) and abs(value) < 2**63):
        return None
    if isinstance(value, float) and math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return next((problem for item in value if (problem := _free_value_problem(item))), None)
    return "must be text, a finite number, true or false, or a list of them"


def function_name(text: str, default: str) -> str:
    """The name of the function in `text`; `default` if only a file is given, or no function is named."""
    named = named_function(text)
    return default if named is None else named[1] or default


def own_functions(training: Any) -> dict[str, str]:
    """The settings of a `TrainingConfig` that name custom functions, by flag."""
    given = {f"--{name.replace('_', '-')}": getattr(training, name) for name in OWN}
    return {flag: text for flag, text in given.items() if named_function(text) is not None}


def own_in_sweep(sweep: Mapping[str, Iterable[str]]) -> bool:
    """Whether a sweep names custom functions."""
    return any(named_function(text) is not None for name in OWN for text in sweep.get(f"training.{name}", ()))


def found_beside(text: str, places: Iterable[Path]) -> str:
    """The same function with the absolute path of its `.py` file, if that is in one of these directories."""
    named = named_function(text)
    if named is None or not named[0].endswith(".py"):
        return text
    place = Path(named[0]).expanduser()
    path = next((whole for base in places if (whole := (base / place).absolute()).is_file()), place)
    return str(path) + text[len(named[0]) :]
