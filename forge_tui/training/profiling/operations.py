"""Which operations a step spends its time in, by torch's profiler."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from forge_tui.protocol.profile import PREFIX, OperationCost

OUTSIDE = "outside operations"
UNTRACED = "first steps"
"""The phase of what is traced and does not count."""
_MICRO = 1e-6
# The first that fits counts.
_KINDS = (
    ("compiled code", r"^Compiled|Torch-Compiled|^## Call"),
    ("autograd", r"^autograd::|[a-z]Backward\d*$|^torch::autograd::"),
    ("attention", r"attention|flash|efficient_attention"),
    ("recurrent", r"lstm|gru|rnn"),
    ("convolution", r"conv"),
    ("matrix product", r"(^|::)_?(addmm|mm|bmm|baddbmm|addbmm|matmul|linear|einsum|addmv|mv|dot|outer|addr)(_|$)"),
    ("optimizer", r"_foreach|_fused_(adam|sgd)|addcmul|addcdiv|lerp"),
    ("normalisation", r"norm"),
    ("softmax and loss", r"softmax|nll|cross_entropy|mse_loss|bce|l1_loss|huber"),
    ("embedding and index", r"embedding|index|gather|scatter|take|select|masked|where"),
    ("memory", r"(^|::)(empty|zeros|ones|full|copy|clone|contiguous|cat|stack|fill|zero|to|_to_copy|detach|resize)"),
    ("view", r"(^|::)(view|reshape|t|transpose|permute|expand|slice|as_strided|unsqueeze|squeeze|split|chunk|"
             r"_unsafe_view|narrow|unbind|alias|flatten|lift_fresh|result_type)(_|$)"),
    ("reduction", r"(^|::)(sum|mean|max|min|amax|amin|aminmax|argmax|argmin|prod|std|var|any|all|cumsum|item|"
                  r"_local_scalar_dense)(_|$)"),
    ("random", r"rand|bernoulli|dropout|normal_|uniform_"),
)  # fmt: skip
_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _KINDS)


def kind_of(name: str) -> str:
    """The kind of an operation by its name: `aten::addmm` is a matrix product."""
    if name == OUTSIDE:
        return OUTSIDE
    return next((kind for kind, pattern in _PATTERNS if pattern.search(name)), "element-wise and other")


@dataclass(frozen=True, slots=True)
class Traced:
    """The operations of the traced steps, per step, the longest first; `device_busy` as in `WorkerProfile`."""

    operations: tuple[OperationCost, ...]
    device_busy: float | None


class OperationTrace:
    """Traces steps: call `phase` around each of their phases within `running`, then `result`."""

    def __init__(self, device: torch.device) -> None:
        on_gpu = [ProfilerActivity.CUDA] if device.type == "cuda" else []
        self._profile = profile(activities=[ProfilerActivity.CPU, *on_gpu], acc_events=True)
        self._is_gpu = bool(on_gpu)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Trace what is done within."""
        with self._profile:
            yield

    def start(self) -> None:
        """Trace what follows, until `stop`. Raises `RuntimeError` if another profiler runs."""
        self._profile.start()

    def stop(self) -> None:
        """End the trace."""
        self._profile.stop()

    @staticmethod
    def phase(name: str) -> record_function:
        """Names what is done within it."""
        return record_function(f"{PREFIX}{name}")

    def write(self, path: Path) -> None:
        """Write the events in Chrome's trace format."""
        self._profile.export_chrome_trace(str(path))

    def result(self, steps: int, seconds: float, *, between: str | None = None) -> Traced:
        """The operations of `steps`, which took `seconds`. `between`: the phase of those in none (None: left out)."""
        events = [event for event in self._profile.events() or () if event.device_type.name == "CPU"]
        labels = sorted((event for event in events if event.name.startswith(PREFIX)), key=_begin)
        begins = [_begin(event) for event in labels]
        found: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        for event in events:
            place = bisect_right(begins, _begin(event)) - 1
            if place < 0:
                continue
            phase = labels[place].name.removeprefix(PREFIX)
            is_between = _begin(event) > labels[place].time_range.end
            if phase == UNTRACED or (is_between and between is None):
                continue
            phase = between if is_between and between is not None else phase
            is_label = event.name.startswith(PREFIX)
            sums = found[OUTSIDE if is_label else event.name, phase]
            sums[0] += 0 if is_label else 1
            sums[1] += event.self_cpu_time_total * _MICRO
            sums[2] += event.self_device_time_total * _MICRO
        busy = sum(sums[2] for sums in found.values())
        return Traced(_longest(found, steps), min(1.0, busy / seconds) if self._is_gpu and seconds else None)


def _longest(found: Mapping[tuple[str, str], Sequence[float]], steps: int) -> tuple[OperationCost, ...]:
    costs = [
        OperationCost(kind_of(name), name, phase, calls / steps, seconds / steps, device / steps)
        for (name, phase), (calls, seconds, device) in found.items()
    ]
    costs.sort(key=lambda cost: cost.seconds + cost.device_seconds, reverse=True)
    return tuple(costs)


def _begin(event: Any) -> float:
    return float(event.time_range.start)
