"""The functions of a Python file, found by parsing it: nothing is imported or run."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from forge_tui.settings.training_function import TRAIN

_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Function:
    """One function at the top of a file: `signature` as it is written, and the first line of its docstring."""

    name: str
    signature: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of a file in their order, or the `problem` in words."""

    functions: tuple[Function, ...] = ()
    problem: str | None = None


def default_function(setting: str) -> str:
    """The name of the function where a setting names only a file."""
    return "train" if setting == TRAIN else "model"


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
    arguments = f"({ast.unparse(node.args)})" if isinstance(node, ast.FunctionDef) else ""
    summary = (ast.get_docstring(node) or "").partition("\n")[0]
    return Function(node.name, f"{node.name}{arguments}", summary)
