"""The native kernels of this machine: compiled at the first use, kept in the user's cache, loaded by every worker.

A library's name is the digest of everything that decides its machine code, so it is never replaced. Files of the cache:
`planner-DIGEST.so`, or `planner-DIGEST.failed` with the compiler's message: a failed compilation is not tried again
with the same compiler and source for a day. Two processes that build at once wait for each other.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.kernels.compiler import SOURCE, Compiler, digest, find_compiler
from forge_tui.safe_io.printing import named, shortened
from forge_tui.safe_io.whole_files import half_written, make_private, sync_file, write_atomically
from forge_tui.settings.user_file import cache_directory

_SECONDS = 300.0
_MESSAGE = 600  # characters of a compiler's output in a reason
_KEPT = 8
_STALE_SECONDS = 3_600.0
_FAILED_SECONDS = 86_400.0


class NoKernel(Exception):
    """There is no native kernel here: why, in words."""


class Library:
    """A loaded library. `build` names its machine code."""

    def __init__(self, functions: ctypes.CDLL, build: str) -> None:
        self.functions, self.build = functions, build


def load_library(directory: Path | None = None) -> Library:
    """Load the kernels, compiling them first if nobody has; a compilation takes some seconds.

    `directory`: another one than the user's cache. Raises `NoKernel`.
    """
    compiler = find_compiler()
    if compiler is None:
        raise NoKernel("no C++ compiler was found (g++ or clang++, or the one that CXX names)")
    try:
        return _load(compiler, directory or cache_directory() / "kernels")
    except RunDirectoryError as error:
        raise NoKernel(str(error)) from error
    except OSError as error:
        raise NoKernel(f"the native kernel cannot be kept or loaded: {error}") from error


def _load(compiler: Compiler, directory: Path) -> Library:
    build = digest(compiler)
    make_private(directory)
    _require_ours(directory)
    path = directory / f"planner-{build}.so"
    if not path.exists():
        with _alone(path.with_suffix(".lock")):
            if not path.exists():
                _build(compiler, path)
    _require_ours(path)
    try:
        return Library(ctypes.CDLL(str(path)), build)
    except OSError as error:
        path.unlink(missing_ok=True)  # cut off by a full disk or a power loss: compiled again the next time
        raise NoKernel(f"{named(path)} cannot be loaded: {error}") from error


def _build(compiler: Compiler, path: Path) -> None:
    """Compile into `path`. Raises `NoKernel`."""
    failed = path.with_suffix(".failed")
    with contextlib.suppress(FileNotFoundError):
        if abs(time.time() - failed.stat().st_mtime) < _FAILED_SECONDS:
            raise NoKernel(failed.read_text(encoding="utf-8", errors="replace"))
    _tidy(path.parent)
    with half_written(path) as temporary:
        problem = _compile(compiler, temporary)
        if problem is not None:
            write_atomically(failed, problem.encode())
            raise NoKernel(problem)
        os.chmod(temporary, 0o700)
        sync_file(temporary)
        os.replace(temporary, path)


def _compile(compiler: Compiler, target: Path) -> str | None:
    """The compiler's refusal; None if it succeeds. Raises `NoKernel` for what may be otherwise the next time."""
    try:
        done = subprocess.run(
            compiler.arguments(SOURCE / "planner.cpp", target),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_SECONDS, check=False,
            text=True, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NoKernel(f"{named(compiler.command[0])} took more than {_SECONDS:.0f} s") from None
    if done.returncode < 0:
        raise NoKernel(f"{named(compiler.command[0])} was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode == 0:
        return None
    words = named(shortened(done.stdout.strip(), _MESSAGE)) or f"exit status {done.returncode}, without a word"
    return f"{named(compiler.command[0])} refused the native kernel: {words}"


def _require_ours(path: Path) -> None:
    """Raise `NoKernel` unless only this user can have written `path`: it is loaded into the process."""
    found = os.stat(path)
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NoKernel(f"{named(path)} is not yours alone to write: remove it, or take the others' right to write")


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process builds."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with contextlib.suppress(OSError):  # no locks on this file system: the last to finish wins
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _tidy(directory: Path) -> None:
    """Remove all but the newest libraries, and what killed processes have left."""
    now = time.time()
    with contextlib.suppress(OSError):
        found = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        libraries = [path for path in found if path.suffix == ".so"]
        left = [path for path in found if path.suffix == ".tmp" and now - path.stat().st_mtime > _STALE_SECONDS]
        for path in (*libraries[_KEPT:], *left):
            path.unlink(missing_ok=True)
