"""Which kind of failure an exception of training is, and in which words."""

from __future__ import annotations

import pytest
import torch

from forge_tui.errors import ChangedError, ForgeError
from forge_tui.training.failures import Diverged
from forge_tui.worker.loop import classify


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MemoryError("cannot allocate 1 TiB"), "out_of_memory", "MemoryError: cannot allocate 1 TiB"),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (torch.OutOfMemoryError("CUDA out of memory."), "out_of_memory", "OutOfMemoryError: CUDA out of memory."),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory",
            "RuntimeError: DefaultCPUAllocator: can't allocate memory",
        ),
        (RuntimeError("memory is fine"), "exception", "RuntimeError: memory is fine"),
        (ValueError("broken"), "exception", "ValueError: broken"),
        (Unprintable(), "exception", "Unprintable: (no message: ValueError in its __str__)"),
        (SystemExit("enough"), "exit", "the training code called sys.exit('enough')"),
        (ChangedError("other data"), "changed", "other data"),
        (ForgeError("in words"), "exception", "in words"),
    ],
)  # fmt: skip
def test_every_exception_has_its_kind_and_words(error: BaseException, kind: str, words: str) -> None:
    assert classify(error) == (kind, words)


def test_a_divergence_has_a_kind_of_its_own() -> None:
    kind, words = classify(Diverged("the loss of epoch 5 is nan", 5, 0.1))
    assert (kind, words.split(";")[0]) == ("diverged", "the loss of epoch 5 is nan: training has diverged")
