"""The C++ compiler of this machine, and what decides the machine code that it makes."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forge_tui.resources.processor import processor

SOURCE = Path(__file__).parent / "source"
_COMPILERS = ("g++", "clang++", "c++")
# Sums of products may be rounded once (fma); nobody reads errno after a square root.
_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared")
_HEAD = 16_384  # bytes of /proc/cpuinfo: the first CPU's paragraph


@dataclass(frozen=True, slots=True)
class Compiler:
    """`command` with its arguments; `program` is the file that it starts, with its size and time of change."""

    command: tuple[str, ...]
    program: str

    def arguments(self, source: Path, target: Path) -> list[str]:
        """The command line that compiles `source` into the shared library `target`."""
        return [*self.command, *flags(), str(source), "-o", str(target)]


def find_compiler(environment: Mapping[str, str] = os.environ) -> Compiler | None:
    """The compiler that `CXX` names, else g++, clang++ or c++; None if there is none."""
    named = shlex.split(environment.get("CXX", ""))
    for command in [named] if named else [[name] for name in _COMPILERS]:
        found = shutil.which(command[0], path=environment.get("PATH"))
        if found is not None:
            real = os.path.realpath(found)
            about = os.stat(real)
            return Compiler((found, *command[1:]), f"{real} {about.st_size} {about.st_mtime_ns}")
    return None


def flags() -> tuple[str, ...]:
    """The compiler's flags, for the CPU of this machine."""
    tuned = "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"
    return (*_FLAGS, tuned)


def digest(compiler: Compiler) -> str:
    """Names the machine code that `compiler` makes here of the source: equal names, equal code."""
    parts = [compiler.program, *compiler.command, *flags(), processor(), *cpu_features()]
    found = hashlib.sha256("\0".join(parts).encode())
    for path in sorted(SOURCE.iterdir()):
        found.update(b"\0" + path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:24]


@functools.cache
def cpu_features() -> tuple[str, ...]:
    """The instruction sets of this CPU, as the kernel lists them; empty where it does not."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = file.read(_HEAD).split("\n\n", 1)[0].splitlines()
    except OSError:
        return ()
    found = {name.strip(): value for name, _, value in (line.partition(":") for line in lines)}
    return tuple(sorted((found.get("flags") or found.get("Features") or "").split()))
