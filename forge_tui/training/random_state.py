"""Seeds, captures and restores all random number generators that training code may use."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch (all devices), numpy and Python."""
    # `torch.manual_seed` records its caller's stack for later GPUs: a fifth of the time to make a small model.
    torch.default_generator.manual_seed(seed)
    if torch.backends.cuda.is_built():
        # Waits until CUDA starts. To ask whether there is a GPU would start it, in a spare worker before it is known
        # which GPU is to be visible.
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def kept() -> Iterator[None]:
    """Restore the global generators afterwards."""
    cpu = torch.device("cpu")
    before = capture(cpu)
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        restore(before, cpu)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's generators (torch's, NumPy's, Python's) inside, and restore them afterwards."""
    cpu = torch.device("cpu")
    before = capture(cpu)
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        yield
    finally:
        restore(before, cpu)


def capture(device: torch.device) -> dict[str, Tensor]:
    """The state of the global generators, and of `device`'s, as tensors."""
    version, words, gauss = random.getstate()
    legacy: Any = np.random.get_state(legacy=True)
    _, keys, position, has_gauss, cached = legacy
    state = {
        "torch": torch.get_rng_state(),
        # With numpy: torch takes three times as long for a list of numbers.
        "python": torch.from_numpy(np.array([version, *words], dtype=np.int64)),
        "python_gauss": torch.tensor(math.nan if gauss is None else gauss, dtype=torch.float64),
        "numpy": torch.from_numpy(np.append(keys.astype(np.int64), [position, has_gauss])),
        "numpy_gauss": torch.tensor(cached, dtype=torch.float64),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore(state: dict[str, Tensor], device: torch.device) -> None:
    """Restore the generators from `capture`."""
    torch.set_rng_state(state["torch"])
    version, *words = state["python"].tolist()
    gauss = state["python_gauss"].item()
    random.setstate((version, tuple(words), None if math.isnan(gauss) else gauss))
    *keys, position, has_gauss = state["numpy"].tolist()
    key_array = np.array(keys, dtype=np.uint32)
    np.random.set_state(("MT19937", key_array, position, has_gauss, state["numpy_gauss"].item()))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    if device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])
