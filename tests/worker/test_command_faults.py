"""What the output of a command that has failed says about its GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from forge_tui.worker.command_failure import failure_of


def failed(text: str, status: int = 1) -> tuple[str, str]:
    """Kind and message of a command's failure with this output."""
    reports: Any = SimpleNamespace(failure=None, diverged=None, stopped_early=None)
    tail: Any = SimpleNamespace(text=text, last_line=text.splitlines()[-1])
    meter: Any = SimpleNamespace(ran_out_of_memory=lambda: False)
    found = failure_of(reports, status, tail, meter, was_asked=False)
    assert found is not None
    return found.kind, str(found)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", "out_of_memory", "CUDA out of memory. Tried"),
        (
            "[rank1] torch.OutOfMemoryError: CUDA out of memory. Tried\nchild failed: exitcode 1",
            "out_of_memory",
            "child failed: exitcode 1 (and before: [rank1] torch.OutOfMemoryError: CUDA out of memory. Tried)",
        ),
        (
            "RuntimeError: CUDA error: uncorrectable ECC error encountered\nbye",
            "exit",
            "bye (and before: RuntimeError: CUDA error: uncorrectable ECC error encountered)",
        ),
        ("ValueError: no", "exit", "its last output: ValueError: no"),
    ],
)
def test_the_words_about_a_gpu_are_in_the_message_whichever_process_had_the_last_word(
    text: str, kind: str, words: str
) -> None:
    found = failed(text)
    assert found[0] == kind
    assert found[1].endswith(words)
