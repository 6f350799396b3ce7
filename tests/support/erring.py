"""Has one thing that is done to the file system fail, once: the n-th of all, in this process and this thread."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

_CHANGES = ("rename", "replace", "unlink", "rmdir", "mkdir", "link", "write", "fsync")


@contextmanager
def error_at(number: int, code: int = errno.EIO) -> Iterator[list[str]]:
    """Have change number `number` (from 1 on) fail with `code`; what is yielded names the call, if it came to that."""
    failed: list[str] = []
    numbers, thread = count(1), threading.get_ident()

    def failing(name: str, call: Callable[..., Any], changes: Callable[..., bool]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if threading.get_ident() == thread and changes(*arguments) and next(numbers) == number:
                failed.append(f"{name} {_path(arguments[0])}")
                raise OSError(code, os.strerror(code), arguments[0])
            return call(*arguments, **named)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for name in _CHANGES:
            patch.setattr(os, name, failing(name, getattr(os, name), lambda *_: True))
        patch.setattr(os, "open", failing("open", os.open, lambda _path, flags, *_: bool(flags & os.O_CREAT)))
        yield failed


def _path(of: object) -> object:
    """What a call is about: a path, or an open file."""
    return os.readlink(f"/proc/self/fd/{of}") if isinstance(of, int) and os.path.isdir("/proc/self/fd") else of


def each_error(
    original: Path, place: Path, action: Callable[[Path], object]
) -> Iterator[tuple[str, Path, OSError | None]]:
    """Of each thing that may fail its name, a copy of `original` that `action` has left so, and what it raised.

    Only an `OSError` may be raised.
    """
    for number in count(1):
        copy = place / f"{number}" / original.name
        shutil.copytree(original, copy, symlinks=True)
        raised = None
        with error_at(number) as failed:
            try:
                action(copy)
            except OSError as error:
                raised = error
        if not failed:
            return
        yield failed[0], copy, raised
