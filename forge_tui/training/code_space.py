"""Modules of one run's code in a process that may have others with the same names: a user's script that loads models.

Two runs of a project may have different texts of the same `net.py`, and the script may have imported that file itself.
Without such a conflict, and if the original equals the copy, its modules become ordinary ones. Otherwise they are
private to this space: no other code sees them, and their classes cannot be pickled by name.
"""

from __future__ import annotations

import builtins
import os
import sys
import threading
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from forge_tui.runs.code import SUFFIX, CodeRecord, is_below, is_installed, read_code_file
from forge_tui.training.code_finder import CodeFinder, Copy, CopyLoader, install

_LOCK = threading.RLock()
_KNOWN: dict[object, CodeSpace] = {}


class CodeSpace:
    """The modules of one run's code. Use `space_of`."""

    def __init__(self, record: CodeRecord, copies: Mapping[str, Copy], path: Sequence[str]) -> None:
        """`path`: directories that are appended to the import path."""
        self._contents = {record.original(name): copy.content for name, copy in copies.items()}
        self._roots = tuple(record.roots.values())
        self._path = list(path)
        self._tops = frozenset(_top_names(self._contents, [*path, *map(os.path.dirname, self._contents)]))
        self.is_private = not self._is_ordinary()
        self._modules: dict[str, types.ModuleType] = {}
        self._depth = 0
        # Imports inside functions, at a later call, work in the same way.
        usual = {**vars(builtins), "__import__": self._import}
        self.finder = CodeFinder(record, copies, shows_copies=self.is_private, builtins=usual)

    def still_fits(self) -> bool:
        """Whether its modules can still be used: nothing else has replaced them."""
        return self.is_private or self._is_ordinary()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make imports inside find this code."""
        with _LOCK:
            if self._depth:
                yield
                return
            self._depth += 1
            others = self._take_out() if self.is_private else {}
            sys.modules.update(self._modules)
            path = list(sys.path)
            sys.path += [one for one in self._path if one not in sys.path]
            install(self.finder)
            try:
                yield
            finally:
                sys.meta_path.remove(self.finder)
                if self.is_private:
                    self._path = [one for one in sys.path if one not in path]
                    sys.path[:] = path
                    self._modules = self._take_out()
                    sys.modules.update(others)
                self._depth -= 1

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        """`__import__` for this code."""
        if level == 0 and name.partition(".")[0] not in self._tops:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        with self.active():
            return builtins.__import__(name, globals, locals, fromlist or (), level)

    def _take_out(self) -> dict[str, types.ModuleType]:
        """Remove the modules under the names of this code from `sys.modules`, and return them."""
        found = dict(self._under_its_names())
        for name in found:
            del sys.modules[name]
        return found

    def _under_its_names(self) -> Iterator[tuple[str, types.ModuleType]]:
        for name, module in list(sys.modules.items()):
            top = name.partition(".")[0]
            if top in self._tops and not _comes_first(sys.modules.get(top, module)):
                yield name, module

    def _is_ordinary(self) -> bool:
        """Whether the copies equal the originals, and their names are unused or theirs."""
        for where, content in self._contents.items():
            try:
                if read_code_file(where) != content:
                    return False
            except OSError:
                return False
        return all(self._is_of_this_code(module) for _, module in self._under_its_names())

    def _is_of_this_code(self, module: types.ModuleType) -> bool:
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        if isinstance(loader, CopyLoader):
            return self._contents.get(os.path.abspath(loader.path)) == loader.source.content
        places = [os.path.abspath(place) for place in getattr(module, "__path__", ())]
        is_namespace = getattr(module, "__file__", None) is None and bool(places)
        return is_namespace and all(is_below(place, root) for place in places for root in self._roots)


def space_of(record: CodeRecord, copies: Mapping[str, Copy], path: Sequence[str]) -> CodeSpace:
    """The space of this code, one per process."""
    key = (
        tuple(sorted((name, copy.place, copy.content) for name, copy in copies.items())),
        tuple(record.roots.items()),
    )
    with _LOCK:
        found = _KNOWN.get(key)
        if found is None or not found.still_fits():
            found = _KNOWN[key] = CodeSpace(record, copies, path)
        return found


def _top_names(files: Iterable[str], path: Sequence[str]) -> Iterator[str]:
    """The top-level names under which files may be imported from directories."""
    entries = {os.path.abspath(entry) for entry in (*path, *sys.path)}
    for file in files:
        for entry in entries:
            if is_below(file, entry):
                name = os.path.relpath(file, entry).split(os.sep)[0].removesuffix(SUFFIX)
                yield from (name, f"own_{name}")  # the second where the first is taken


def _comes_first(module: types.ModuleType) -> bool:
    """Whether a module is an installed one, which precedes custom code on the path."""
    if module.__name__ in sys.builtin_module_names or module.__name__ == "__main__":
        return True
    file: Any = getattr(module, "__file__", None)
    places = [file] if isinstance(file, str) else list(getattr(module, "__path__", ()))
    return bool(places) and all(is_installed(os.path.abspath(place)) for place in places)
