"""The functions of a Python file, found by parsing it: nothing is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forge_tui.settings.own_names import function_name, named_function
from forge_tui.settings.training_function import NONE, TRAIN

_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Function:
    """One function at the top of a file: `signature` as it is written, and the first line of its docstring.

    `parameters` are those after the first one, with their defaults as they are written; None: without a default.
    """

    name: str
    signature: str
    summary: str = ""
    parameters: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of a file in their order, or the `problem` in words."""

    functions: tuple[Function, ...] = ()
    problem: str | None = None


def default_function(setting: str) -> str:
    """The name of the function where a setting names only a file."""
    return "train" if setting == TRAIN else "model"


def parameters_of(train: str, working_directory: Path) -> Mapping[str, str | None]:
    """The parameters of a training function given as `file.py:function`; none if it cannot be found without importing.

    Reads the disk, never raises.
    """
    named = named_function(train) if train != NONE else None
    if named is None or not named[0].endswith(".py"):
        return {}
    try:
        path = working_directory / Path(named[0]).expanduser()
    except RuntimeError:  # no such user
        return {}
    wanted = function_name(train, default_function(TRAIN))
    return next((one.parameters for one in functions_in(path).functions if one.name == wanted), {})


def functions_in(path: Path) -> Functions:
    """The functions and classes at the top of a file, without those whose names begin with an underscore.

    Reads the disk, never raises.
    """
    try:
        if not path.is_file():  # opening a pipe could block for ever
            return Functions(problem="there is no such file")
        with path.open("rb") as file:
            source = file.read(_LARGEST_FILE + 1)
        if len(source) > _LARGEST_FILE:
            return Functions(problem="is larger than 1 MiB; type FILE.py:FUNCTION")
        found = tuple(function for node in ast.parse(source).body if (function := _function(node)) is not None)
    except SyntaxError as error:
        return Functions(problem=f"line {error.lineno}: {error.msg}")
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return Functions(problem=f"cannot be read: {getattr(error, 'strerror', None) or error}")
    return Functions(found) if found else Functions(problem="has no function; add one, or choose another file")


def _function(node: ast.stmt) -> Function | None:
    if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
        return None
    summary = (ast.get_docstring(node) or "").partition("\n")[0]
    if isinstance(node, ast.ClassDef):
        return Function(node.name, node.name, summary)
    return Function(node.name, f"{node.name}({ast.unparse(node.args)})", summary, _parameters(node.args))


def _parameters(given: ast.arguments) -> dict[str, str | None]:
    by_position = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [*[None] * (len(by_position) - len(given.defaults)), *given.defaults]
    pairs = [*zip(by_position, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return {one.arg: None if default is None else ast.unparse(default) for one, default in pairs[1:]}
