"""Temporary eval mode that restores the mode of every part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(body: nn.Module) -> Iterator[None]:
    """Set `body` to eval mode inside. Afterwards every part has its earlier mode, also a frozen batch normalisation:
    `body.train()` would set all parts to training.
    """
    roots = [body, *getattr(body, "shadows", ())]
    before = [(part, part.training) for root in roots for part in root.modules()]
    body.eval()
    try:
        yield
    finally:
        # With `train`, parents first: a module may do more there than set a flag, such as merging weights.
        for part, was_training in before:
            if part.training is not was_training:
                part.train(was_training)
        for part, was_training in before:  # a parent's `train` may set its parts' modes
            part.training = was_training
