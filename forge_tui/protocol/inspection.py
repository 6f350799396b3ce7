"""What an inspection before a run has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """`features` is the number of features, or None for tokens; `classes` the number of classes or tokens, or None.

    `estimated_bytes` is the estimated memory for training one such model, `worker_bytes` for a worker with a whole
    group; `device_bytes`, for a GPU, that of tensors on it, of one model and of each further one of a group.
    `grouping_problem`: why such models cannot be trained together, or None.
    `can_compile`: whether torch.compile has what it needs. `kernel`: what carries out a step, `eager` or `native` with
    the name of its machine code; `kernel_reason`: why eager, or empty. `data`: the `Fingerprint.to_record` of the data.
    `table`: what `--check` says of target and columns. Data and model of a training function or a command are unknown,
    so all of these are None; `first_report` has the metrics of a function's first report when it was tried, `program`
    the path of a command's program.
    """

    parameters: int | None = None
    train_samples: int | None = None
    validation_samples: int | None = None
    test_samples: int | None = None
    features: int | None = None
    classes: int | None = None
    task: str | None = None
    estimated_bytes: int | None = None
    worker_bytes: int | None = None
    device_bytes: tuple[int, int] | None = None
    data: dict[str, Any] | None = None
    grouping_problem: str | None = None
    can_compile: bool | None = None
    kernel: str | None = None
    kernel_reason: str = ""
    first_report: dict[str, float | None] | None = None
    program: str | None = None
    table: dict[str, Any] | None = None
