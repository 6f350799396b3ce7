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
from forge_tui.training.data.split import require_rest, test_record

WINDOW = 64
_BYTES_A_CHARACTER = 16


def text_dataset(path: Path, settings: Settings, version: int) -> Dataset:
    """Cut a UTF-8 text into windows of 64 characters, with the next character as target at every position.

    The vocabulary is every character of the file, sorted. The end of the text is the validation split, not random
    windows: neighbours of training windows would give too good results; a test split is behind it. All versions read it
    alike. Raises `DataError`.
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
    data = settings.data
    require_rest(data.validation_fraction, data.test_fraction)
    tested = min(round(windows * data.test_fraction), windows - 1)
    held_back = min(round(windows * data.validation_fraction), windows - tested - 1)
    inputs, targets = _windows(tokens, length, windows)
    trained, before = windows - tested - held_back, windows - tested
    places = torch.arange(windows)
    return Dataset(
        task=Task.NEXT_TOKEN,
        train_inputs=inputs[:trained],
        train_targets=targets[:trained],
        validation_inputs=inputs[trained:before] if held_back else None,
        validation_targets=targets[trained:before] if held_back else None,
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
            "validation_fraction": data.validation_fraction,
            **test_record(tested, data.test_fraction),
        },
        split_sha256=split_digest(places[:trained], places[trained:before], places[before:]),
        test_inputs=inputs[before:] if tested else None,
        test_targets=targets[before:] if tested else None,
    )


def _windows(tokens: Tensor, length: int, windows: int) -> tuple[Tensor, Tensor]:
    """Neighbouring windows, and the same shifted by one character; each (windows, length)."""
    used = windows * length
    return tokens[:used].view(windows, length), tokens[1 : used + 1].view(windows, length)
