"""Options that make training faster and change its bytes: mixed precision and compiled models."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context for a forward pass and its loss; it may be entered repeatedly.

    `bfloat16`: products and convolutions use 16-bit operands, sums and normalisation stay in float32 (Micikevicius
    et al. 2018, "Mixed Precision Training"; bfloat16 has float32's range, so losses need no scaling).
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def compiled(body: nn.Module) -> nn.Module:
    """`body` compiled by torch.compile: the same function of the same weights, with a version per batch shape."""
    # Compiled in this process: a pool of compilers would outlive the worker.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    module: nn.Module = torch.compile(body, dynamic=False)  # type: ignore[assignment]
    return module


def missing_compiler(device: torch.device) -> str | None:
    """What torch.compile lacks here, or None."""
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX") or "g++", "clang++"))):
        return "a C++ compiler (g++ or clang++): install one, or leave --compile out"
    return None
