"""Makes a process ready to train before it knows what: pages mapped, kernels looked up, caches filled."""

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
    """Train a tiny model for an epoch, on the CPU and with so many threads, and forget it.

    A process's first step and first file cost 30 ms that the next ones do not. The random generators are left as
    they were: what is trained afterwards has the bytes that it has in a process that did not do this.
    """
    # Before the first operation: each thread has this mode for itself, and those of a pool take it from the thread that
    # starts them. Set only later, products of several threads would flush denormal numbers in one of them alone.
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
