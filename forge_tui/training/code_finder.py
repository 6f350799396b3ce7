"""Imports custom code from the run's copy, as if it were the originals.

A module's `__file__` and `__path__` are those of the original, so that files beside the code are found; if that
directory is gone, they are the copy's. Tracebacks and `inspect.getsource` show the text of the copy. All copies are
read and verified at once, and compiled files are neither read nor written.
"""

from __future__ import annotations

import importlib.util
import linecache
import os
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

from forge_tui.runs.code import SUFFIX, CodeRecord, is_below, is_installed, label_of, read_copies, sha256

_INIT = f"__init__{SUFFIX}"


@dataclass(frozen=True, slots=True)
class CodeSource:
    """A file of code: recorded `path`, content, `__file__`, and its name in tracebacks."""

    path: str
    content: bytes
    file: str
    shown: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A verified copy of a file of code, and its path."""

    place: str
    content: bytes


Ask = Callable[[str], tuple[str, Copy]]
"""Requests a copy of a newly imported file; returns its recorded path and the copy. Raises `ImportError`."""


class CodeFinder(MetaPathFinder):
    """Finds the modules of one run's code; does not affect other modules."""

    def __init__(
        self,
        record: CodeRecord,
        copies: Mapping[str, Copy],
        ask: Ask | None = None,
        *,
        shows_copies: bool = False,
        builtins: dict[str, Any] | None = None,
    ) -> None:
        """`copies` by recorded path. `ask`: for unrecorded files; without it these are imported from their place.

        `shows_copies`: tracebacks name the copies. `builtins`: for the modules, instead of the usual ones.
        """
        self._shows_copies, self._builtins = shows_copies, builtins
        self._roots, self._modules = dict(record.roots), dict(record.modules)
        self._ask = ask
        self._files: dict[str, CodeSource] = {}
        self._directories: set[str] = set()
        self._names: set[str] = set()
        self._recorded: dict[str, str] = {}
        for path, copy in copies.items():
            self._add(path, copy)

    @property
    def roots(self) -> list[str]:
        """The directories that custom code is imported from."""
        return list(self._roots.values())

    @property
    def record(self) -> CodeRecord:
        """The code's record, with files that the runner has added."""
        return CodeRecord(dict(self._recorded), dict(self._roots), self._modules)

    def source(self, file: str) -> CodeSource | None:
        """The file of code at a path, of the original or of the copy."""
        return self._files.get(os.path.abspath(file))

    def spec_of(self, name: str, file: str) -> ModuleSpec | None:
        """The spec to import a file under a name, such as one named in settings; None if it is not custom code.

        Raises `ImportError` if the runner cannot copy it.
        """
        source = self.source(file) or self._asked(file)
        return None if source is None else self._spec(name, source)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """As Python's own file finder, which searches the directories in order; some of them through the record."""
        tail = fullname.rpartition(".")[2]
        if tail in self._names:
            found = self._find(fullname, tail, sys.path if path is None else path)
        else:
            found = PathFinder.find_spec(fullname, path, target)
        if found is None and path is None:
            found = self._found_otherwise(fullname, target)
        return found if found is None else self._from_copy(found)

    def _find(self, fullname: str, tail: str, entries: Iterable[str]) -> ModuleSpec | None:
        portions: list[str] = []
        for entry in entries:
            base = os.path.join(os.path.abspath(entry), tail)
            source = self._files.get(os.path.join(base, _INIT)) or self._files.get(base + SUFFIX)
            if source is not None:
                return self._spec(fullname, source)
            if base in self._directories:
                portions.append(base)
                continue
            found = PathFinder.find_spec(fullname, [entry])
            if found is not None and found.loader is not None:
                return found
            portions += [] if found is None else found.submodule_search_locations or []
        if not portions:
            return None
        namespace = ModuleSpec(fullname, None, is_package=True)
        namespace.submodule_search_locations = portions
        return namespace

    def _found_otherwise(self, fullname: str, target: types.ModuleType | None) -> ModuleSpec | None:
        """Use the finders after this one, such as those of editable installs."""
        later = sys.meta_path[sys.meta_path.index(self) + 1 :] if self in sys.meta_path else []
        for finder in later:
            find = getattr(finder, "find_spec", None)
            if finder is PathFinder or find is None:
                continue
            found: ModuleSpec | None = find(fullname, None, target)
            if found is not None:
                return found
        return None

    def _from_copy(self, spec: ModuleSpec) -> ModuleSpec:
        """The same module from its copy, if it is a Python file of custom code."""
        if type(spec.loader) is not SourceFileLoader or spec.origin is None:
            return spec
        source = self.source(spec.origin) or self._asked(spec.origin)
        return spec if source is None else self._spec(spec.name, source)

    def _asked(self, file: str) -> CodeSource | None:
        """The copy of a newly imported file; None if it needs none."""
        where = os.path.abspath(file)
        is_custom = any(is_below(where, root) for root in self._roots.values()) and not is_installed(where)
        if self._ask is None or not is_custom:
            return None
        return self._add(*self._ask(where))

    def _add(self, path: str, copy: Copy) -> CodeSource:
        root, parts = self._roots[label_of(path)], path.split("/")[1:]
        original = os.path.join(root, *parts)
        file = original if os.path.isdir(os.path.dirname(original)) else copy.place
        source = CodeSource(path, copy.content, file, copy.place if self._shows_copies else file)
        self._recorded[path] = sha256(copy.content)
        for place in (original, copy.place):
            self._files[place] = source
            above = place
            for _ in parts[1:]:
                above = os.path.dirname(above)
                self._directories.add(above)
        self._names.update(part.removesuffix(SUFFIX) for part in parts)
        return source

    def _spec(self, fullname: str, source: CodeSource) -> ModuleSpec:
        is_package = os.path.basename(source.file) == _INIT
        locations = [os.path.dirname(source.file)] if is_package else None
        loader = CopyLoader(fullname, source, self._builtins)
        spec = importlib.util.spec_from_file_location(
            fullname, source.file, loader=loader, submodule_search_locations=locations
        )
        assert spec is not None
        return spec


class CopyLoader(SourceFileLoader):
    """Executes a verified copy as if it were the original."""

    def __init__(self, fullname: str, source: CodeSource, builtins: dict[str, Any] | None = None) -> None:
        super().__init__(fullname, source.file)
        self.source, self._builtins = source, builtins

    def get_data(self, path: str) -> bytes:
        """The module's text from the copy; other files, requested by packages, from their place."""
        return self.source.content if os.fspath(path) == self.path else super().get_data(path)

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile the copy: compiled files of the original may be of another text."""
        code: types.CodeType = compile(self.source.content, self.source.shown, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: types.ModuleType) -> None:
        """Execute the module and register its text for tracebacks."""
        text = importlib.util.decode_source(self.source.content) if _is_text(self.source.content) else ""
        # Without a modification time `linecache` treats the entry as a module loader's, and never checks the file.
        linecache.cache[self.source.shown] = (len(text), None, text.splitlines(keepends=True), self.source.shown)
        if self._builtins is not None:
            module.__dict__["__builtins__"] = self._builtins
        super().exec_module(module)


def _is_text(content: bytes) -> bool:
    try:
        importlib.util.decode_source(content)
    except (SyntaxError, UnicodeDecodeError):  # reported by the import
        return False
    return True


def copies_in(directory: Path, files: Mapping[str, str]) -> dict[str, Copy]:
    """The copies in `RUN/code` of recorded files (SHA-256 by path).

    Raises `ChangedError` if one is missing or differs from the record.
    """
    return {path: Copy(str(directory / path), content) for path, content in read_copies(directory, files).items()}


def install(finder: CodeFinder) -> None:
    """Make this process import the code of a run from its copy."""
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)


def installed() -> CodeFinder | None:
    """The finder in use, if there is one."""
    return next((finder for finder in sys.meta_path if isinstance(finder, CodeFinder)), None)


def not_copied() -> list[str]:
    """Files of imported custom code without a copy: compiled ones, and those that code loads by path."""
    finder, found = installed(), set[str]()
    roots = [] if finder is None else finder.roots
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        # Some modules of torch are created at run time and name files that do not exist.
        if not isinstance(file, str) or not os.path.isabs(file) or is_installed(file):
            continue
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        if any(is_below(file, root) for root in roots) and not isinstance(loader, CopyLoader):
            found.add(file)
    return sorted(found)
