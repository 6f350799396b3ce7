"""Text files: character-level language modelling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.tables.declared import require_memory
from forge_tui.training.data.dataset import Dataset, Task
from forge_tui.training.data.fingerprint import split_digest

WINDOW = 64
_BYTES_A_CHARACTER = 16


def text_dataset(path: Path, settings: Settings, version: int) -> Dataset:
    """Cut a UTF-8 text into windows of 64 characters, with the next character as target at every position.

    The vocabulary is every character of the file, sorted. The end of the text is the validation split, not random
    windows: neighbours of training windows would give too good results. All versions read it alike. Raises `DataError`.
    """
    # Per character its code and its number, beside the text.
    size = path.stat().st_size
    require_memory(_BYTES_A_CHARACTER * size, f"{path} as tokens", "free some, or take a part of the text")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{named(path)} is no UTF-8 text (byte {error.start + 1}: {error.reason}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise DataError(f"{named(path)} is no UTF-8 text (it has zero bytes, as UTF-16 has); save it as UTF-8")
    if len(text) < 2:
        raise DataError(f"{named(path)} holds {len(text)} characters; at least 2 are needed to learn which one follows")
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    known, numbers = np.unique(points, return_inverse=True)
    tokens = torch.from_numpy(numbers.astype(np.int64).reshape(-1))

    length = min(WINDOW, len(tokens) - 1)
    windows = (len(tokens) - 1) // length
    held_back = min(round(windows * settings.data.validation_fraction), windows - 1)
    inputs, targets = _windows(tokens, length, windows)
    trained = windows - held_back
    return Dataset(
        task=Task.NEXT_TOKEN,
        train_inputs=inputs[:trained],
        train_targets=targets[:trained],
        validation_inputs=inputs[trained:] if held_back else None,
        validation_targets=targets[trained:] if held_back else None,
        outputs=len(known),
        features=(),
        target=None,
        classes=None,
        vocabulary=tuple(chr(point) for point in known.tolist()),
        normalisation=None,
        split={
            "method": "last part of the text",
            "seed": None,
            "window": length,
            "train_samples": trained,
            "validation_samples": held_back,
            "validation_fraction": settings.data.validation_fraction,
        },
        split_sha256=split_digest(torch.arange(trained), torch.arange(trained, windows)),
    )


def _windows(tokens: Tensor, length: int, windows: int) -> tuple[Tensor, Tensor]:
    """Neighbouring windows, and the same shifted by one character; each (windows, length)."""
    used = windows * length
    return tokens[:used].view(windows, length), tokens[1 : used + 1].view(windows, length)
