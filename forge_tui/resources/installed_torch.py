"""What the installed torch says of itself, from its files: to import it takes seconds."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

from forge_tui.resources.devices import TorchDevices

_NO_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*None\s*$", re.MULTILINE)
_VERSION = re.compile(r"^__version__\s*=\s*'([^']+)'", re.MULTILINE)


@functools.cache
def torch_without_cuda() -> TorchDevices | None:
    """The devices of a torch that is built without CUDA: none. None if it is built with CUDA, or if that is unknown."""
    try:
        found = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return None
    if found is None or found.origin is None:
        return None
    return _without_cuda(Path(found.origin).with_name("version.py"))


def _without_cuda(file: Path) -> TorchDevices | None:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    if _NO_CUDA.search(text) is None:
        return None
    version = _VERSION.search(text)
    return TorchDevices(problem=f"torch {'' if version is None else version[1] + ' '}is built without CUDA")
