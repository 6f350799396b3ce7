"""Modules in evaluation for a while: afterwards every part is in the mode that it was in before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(body: nn.Module) -> Iterator[None]:
    """`body` is in eval mode meanwhile. Parts that were in eval mode before, such as a frozen batch normalisation,
    are in it afterwards too: `body.train()` would set all of them to training.
    """
    roots = [body, *getattr(body, "shadows", ())]
    before = [(part, part.training) for root in roots for part in root.modules()]
    body.eval()
    try:
        yield
    finally:
        # By `train`, parents first: a module may do more there than set a flag (merge weights, say).
        for part, was_training in before:
            if part.training is not was_training:
                part.train(was_training)
        for part, was_training in before:  # where a parent's `train` decides for its parts
            part.training = was_training
