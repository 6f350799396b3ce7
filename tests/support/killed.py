"""Ends a child process by itself, as SIGKILL would, before the n-th thing that it does to the file system."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

_KILLED = 137
_FAILED = 1
_CHANGES = ("rename", "replace", "unlink", "rmdir", "mkdir", "link", "write")


def killed_before(number: int, action: Callable[[], object]) -> bool:
    """Run `action` in a child that ends before its change number `number` (from 1 on); False if it came to its end."""
    child = os.fork()
    if child == 0:
        status = _FAILED
        try:
            _end_before(number)
            action()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _KILLED), f"the action ended with status {code}"
    return code == _KILLED


def each_kill(original: Path, place: Path, action: Callable[[Path], object]) -> Iterator[tuple[int, Path]]:
    """Of each instant at which `action` may be killed its number, and a copy of `original` that it has left so."""
    for number in count(1):
        copy = place / f"{number}" / original.name
        shutil.copytree(original, copy, symlinks=True)
        if not killed_before(number, lambda copy=copy: action(copy)):  # type: ignore[misc]
            return
        yield number, copy


def _end_before(number: int) -> None:
    done = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            done += 1
            if done >= number:
                os._exit(_KILLED)
            return call(*arguments, **named)

        return wrapped

    for name in _CHANGES:
        setattr(os, name, counted(getattr(os, name)))
    real_open = os.open
    creating = counted(real_open)

    def opened(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        call = creating if flags & os.O_CREAT else real_open
        return int(call(path, flags, *arguments, **named))

    os.open = opened
