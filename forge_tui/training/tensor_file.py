"""Files of tensors: safetensors with one metadata key, written whole or not at all, and a digest of what is in them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from forge_tui.runs.files import in_words, sync_directory, sync_file, temporary_name

_METADATA_KEY = "forge_tui"


class DamagedFile(ValueError):
    """A file of tensors is not what was once written; the message says in which way."""


def digest(tensors: Mapping[str, Tensor], record: Mapping[str, Any] | None = None) -> str:
    """SHA-256 (hexadecimal) over names, types, shapes and bytes of the tensors, and over `record` if there is one."""
    sha = hashlib.sha256()
    if record is not None:
        sha.update(canonical(record).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def canonical(record: Mapping[str, Any]) -> str:
    """`record` as JSON with sorted keys, the same text for the same content."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any] | None = None) -> None:
    """Write `path` (mode 0600) atomically; `record` becomes the one metadata key. Equal content gives equal bytes.

    Raises `RunDirectoryError`; an earlier file is then still there.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = None if record is None else {_METADATA_KEY: canonical(record)}
    temporary = temporary_name(path)
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            save_file(plain, temporary, metadata)
        except SafetensorError as error:
            # It says the number of the operating system's error in its text only.
            number = re.search(r"os error (\d+)", str(error))
            code = int(number[1]) if number else None
            raise OSError(code, os.strerror(code) if code else str(error)) from error
        os.chmod(temporary, 0o600)
        sync_file(temporary)
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        raise in_words(error, "write", path) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (in memory of their own) and the record of a file. Raises `DamagedFile`; `OSError` if unreadable."""
    with path.open("rb"):
        pass  # safetensors reports a missing or forbidden file without saying which
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            # Cloned: the file is mapped, and what torch allocates itself is aligned as it was before the resume.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        record = json.loads(metadata.get(_METADATA_KEY, "{}"))
    except (SafetensorError, ValueError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{path} is damaged: {error}") from None
    if not isinstance(record, dict):
        raise DamagedFile(f"{path} is damaged: its metadata is no table")
    return tensors, record
