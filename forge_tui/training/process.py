"""What a process does for its device: settings that affect numerical results, equal for inspection, measurement and
training; waiting for the device; and giving back its memory.
"""

from __future__ import annotations

import os

import torch


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given: only then a clock says how long that took."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def give_back_memory(device: torch.device) -> None:
    """Give the device's memory that no tensor uses back to its driver, for other processes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def prepare_process(device: torch.device) -> None:
    """Apply them; before the first operation."""
    # Late in training moments and gradients fall below 1e-38, where CPUs compute a hundred times slower.
    torch.set_flush_denormal(True)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
