"""Options that make training faster and change its bytes: mixed precision and compiled models."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context that a forward pass and its loss are computed in; it may be entered again and again.

    `bfloat16`: products and convolutions take 16-bit operands, what sums or normalises stays in float32 (Micikevicius
    et al. 2018, "Mixed Precision Training"; bfloat16 has float32's range, so losses need no scaling).
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def compiled(body: nn.Module) -> nn.Module:
    """`body` through torch.compile: the same function of the same weights, a version for every shape of a batch."""
    # Compiled in this process: a pool of compilers would outlive the worker.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    module: nn.Module = torch.compile(body, dynamic=False)  # type: ignore[assignment]
    return module


def missing_compiler(device: torch.device) -> str | None:
    """What torch.compile lacks here, in words, or None."""
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX") or "g++", "clang++"))):
        return "a C++ compiler (g++ or clang++): install one, or leave --compile out"
    return None
