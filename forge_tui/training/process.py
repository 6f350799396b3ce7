"""Process settings that affect numerical results, equal for inspection, measurement and training."""

from __future__ import annotations

import os

import torch


def prepare_process(device: torch.device) -> None:
    """Apply them; before the first operation."""
    # Late in training moments and gradients fall below 1e-38, where CPUs compute a hundred times slower.
    torch.set_flush_denormal(True)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
