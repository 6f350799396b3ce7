"""Finds the files of custom code: the named ones and their imports, by parsing. Nothing is executed.

Followed are imports anywhere in a file, relative ones too, `importlib.import_module("name")` with a literal name, and
packages with and without `__init__.py`. Installed modules, which come first on the path, are not custom code. Names
computed at run time are not found here: the worker that imports them reports them.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec

from forge_tui.errors import SettingsError
from forge_tui.runs.code import SUFFIX, is_installed, read_code_file
from forge_tui.safe_io.printing import named
from forge_tui.settings.own_names import named_function


@dataclass(frozen=True, slots=True)
class Closure:
    """`files`: the content of each file by its path; `modules`: the versions of named installed modules."""

    files: dict[str, bytes] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Module:
    """A module: its Python file, if any, and the directories of its submodules if it is a package."""

    file: str | None
    locations: tuple[str, ...] | None = None


def closure(functions: Iterable[str], python_path: Sequence[str]) -> Closure:
    """The code of functions named in settings.

    Missing files are left out: the worker that imports them reports it. Raises `SettingsError` for an unreadable file.
    """
    named = [found for text in functions if (found := named_function(text)) is not None]
    files = [os.path.abspath(place) for place, _ in named if place.endswith(SUFFIX)]
    reader = _Reader([*map(os.path.abspath, python_path), *map(os.path.dirname, files)])
    for file in files:
        if os.path.isfile(file):
            reader.add(os.path.basename(file).removesuffix(SUFFIX), _Module(file))
    for place, _ in named:
        if not place.endswith(SUFFIX):
            reader.name(place)
    return reader.read()


class _Reader:
    """Follows imports from file to file."""

    def __init__(self, directories: Sequence[str]) -> None:
        self._directories = list(dict.fromkeys(directories))
        self._known: dict[str, _Module | None] = {}
        self._waiting: deque[tuple[str, _Module]] = deque()
        self._seen: set[tuple[str, str]] = set()
        self._found = Closure()

    def name(self, module: str) -> None:
        """Add a module named in settings: custom code, or an installed one."""
        top = module.partition(".")[0]
        if not self._take(module) and _installed_spec(top) is not None:
            self._found.modules[module] = _version(top)

    def add(self, name: str, module: _Module) -> None:
        """Add a module whose file is to be read, once per name: relative imports depend on it."""
        if module.file is not None and (name, module.file) not in self._seen:
            self._seen.add((name, module.file))
            self._waiting.append((name, module))

    def read(self) -> Closure:
        """Read all files."""
        while self._waiting:
            name, module = self._waiting.popleft()
            assert module.file is not None
            if module.file not in self._found.files:
                try:
                    self._found.files[module.file] = read_code_file(module.file)
                except OSError as error:
                    raise SettingsError(f"{named(module.file)} cannot be read: {error.strerror or error}") from None
            package = name if module.locations is not None else name.rpartition(".")[0]
            for wanted in _imports(self._found.files[module.file], package):
                self._take(wanted)
        return self._found

    def _take(self, name: str) -> bool:
        """Add a module and its parent packages; returns whether it is custom code."""
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            whole = ".".join(parts[:length])
            if whole not in self._known:
                self._known[whole] = self._find(whole)
            module = self._known[whole]
            if module is None:
                return False
            self.add(whole, module)
        return True

    def _find(self, name: str) -> _Module | None:
        parent, _, tail = name.rpartition(".")
        if parent:
            package = self._known[parent]
            return None if package is None or package.locations is None else _below(package.locations, tail)
        spec = _installed_spec(name)
        if spec is None:
            return _below(self._directories, tail)
        if spec.origin is None and spec.submodule_search_locations is not None:
            # A namespace package may have parts in several directories.
            return _below([*map(os.path.dirname, spec.submodule_search_locations), *self._directories], tail)
        # The files of an editable install are custom code too.
        if not spec.has_location or spec.origin is None or not self._is_custom(spec.origin):
            return None
        locations = spec.submodule_search_locations
        file = os.path.abspath(spec.origin)
        return _Module(file if file.endswith(SUFFIX) else None, None if locations is None else tuple(locations))

    def _is_custom(self, file: str) -> bool:
        return not is_installed(file) and any(
            os.path.abspath(file).startswith(os.path.join(directory, "")) for directory in self._directories
        )


def _below(directories: Iterable[str], name: str) -> _Module | None:
    """The module of that name in the first directory that has it, as Python's own finder chooses."""
    portions = []
    for directory in directories:
        base = os.path.join(directory, name)
        init = os.path.join(base, f"__init__{SUFFIX}")
        if os.path.isfile(init):
            return None if is_installed(init) else _Module(init, (base,))
        if any(os.path.isfile(base + suffix) for suffix in EXTENSION_SUFFIXES):
            return None
        if os.path.isfile(base + SUFFIX):
            return None if is_installed(base + SUFFIX) else _Module(base + SUFFIX)
        if os.path.isdir(base):
            portions.append(base)
    return _Module(None, tuple(portions)) if portions else None


def _installed_spec(top: str) -> ModuleSpec | None:
    """The import spec of a top-level module; nothing is executed."""
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):  # a module created at run time has no spec
        return getattr(sys.modules.get(top), "__spec__", None)


def _version(top: str) -> str:
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _imports(source: bytes, package: str) -> Iterator[str]:
    """The full names that a file imports anywhere; a name may not be a module."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # reported when it is imported
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = _resolved(module or "", level, package)
                if base is None:
                    continue
                if base:
                    yield base
                yield from (f"{base}.{alias.name}".lstrip(".") for alias in names if alias.name != "*")
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if _imports_by_name(function):
                level = len(name) - len(name.lstrip("."))
                wanted = _resolved(name[level:], level, package)
                if wanted:
                    yield wanted


def _imports_by_name(function: ast.expr) -> bool:
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return called in ("import_module", "__import__")


def _resolved(module: str, level: int, package: str) -> str | None:
    """The full name of a relative import in a package; None if it leads out of all packages."""
    if level == 0:
        return module
    parts = package.split(".") if package else []
    if level > len(parts):
        return None
    return ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])
