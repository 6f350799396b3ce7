"""Warms up a process before its job is known: maps pages, loads kernels, fills caches."""

from __future__ import annotations

from pathlib import Path

import torch

from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training import random_state
from forge_tui.training.data.load import load_dataset
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import SingleState
from forge_tui.training.tensor_file import digest

_SETTINGS = Settings(training=TrainingConfig(model_size=1_000), data=DataSettings(samples=64))


def warm_up(threads: int) -> None:
    """Train a tiny model for an epoch, on the CPU with `threads`, and discard it.

    A process's first step and first file cost 30 ms more than later ones. The random generators' states are restored:
    later training gives the same bytes as without a warm-up.
    """
    # Before the first operation: the mode is per thread, and threads of a pool inherit it from the thread that starts
    # them. Set later, only one of several threads would flush denormal numbers.
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    before = random_state.capture(device)
    dataset = load_dataset(_SETTINGS, Path())
    state = SingleState(_SETTINGS.training, dataset, 0, device)
    data = PlacedData(dataset, state.network, _SETTINGS.training.batch_size, device)
    for inputs, targets in state.batches(data, [0]):
        state.loss(data, inputs, targets).backward()
        state.update()
    state.validate(data)
    digest(state.tensors(0))
    random_state.restore(before, device)
