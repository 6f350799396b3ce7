"""What a profile adds up, and that a worker without one has nothing of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from forge_tui.training.profiling import clock as clocks
from forge_tui.training.profiling.clock import CpuClock, PhaseClock
from forge_tui.training.profiling.operations import OUTSIDE, OperationTrace, kind_of
from forge_tui.training.profiling.trainer import phase_costs

CPU = torch.device("cpu")


class Times:
    """A clock that a test moves, in nanoseconds."""

    def __init__(self) -> None:
        self.now = 0

    def perf_counter_ns(self) -> int:
        return self.now


def test_marks_divide_the_time_without_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    times = Times()
    monkeypatch.setattr(clocks, "time", times)
    clock = PhaseClock(CPU)
    clock.start()
    for phase, moment in (("data", 10), ("forward", 30), ("data", 35), ("forward", 80)):
        times.now = moment
        clock.mark(phase)
    assert {name: (total.times, total.nanoseconds) for name, total in clock.totals.items()} == {
        "data": (2, 15), "forward": (2, 65),
    }  # fmt: skip
    assert clock.spans == [("data", 0, 10), ("forward", 10, 30), ("data", 30, 35), ("forward", 35, 80)]


def test_what_happens_less_often_is_spread_over_the_steps_in_between() -> None:
    clock = PhaseClock(CPU)
    totals = {"data of an epoch": (2, 4.0), "data": (8, 1.0), "forward": (10, 5.0), "records": (2, 0.5),
              "validation": (2, 6.0), "checkpoints": (1, 30.0)}  # fmt: skip
    for name, (times, seconds) in totals.items():
        clock.totals[name] = clocks.Total(times, int(seconds * 1e9))
    found = {(cost.phase, cost.every): cost for cost in phase_costs(clock, 10, 5, 3)}
    assert {key: cost.seconds for key, cost in found.items()} == {
        ("data", "epoch"): 0.4, ("data", "step"): 0.1, ("forward", "step"): 0.5, ("records", "epoch"): 0.05,
        ("validation", "epoch"): 0.6, ("checkpoints", "checkpoint"): 2.0,
    }  # fmt: skip
    assert (found["checkpoints", "checkpoint"].once, found["checkpoints", "checkpoint"].times) == (30.0, 1)


def test_an_end_of_an_epoch_in_two_parts_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = Times()
    monkeypatch.setattr(clocks, "time", times)
    clock = PhaseClock(CPU)
    clock.start()
    times.now = 4
    clock.mark("records", times=0)
    times.now = 10
    clock.mark("records")
    assert (clock.totals["records"].times, clock.totals["records"].nanoseconds) == (1, 10)


def test_a_busy_thread_keeps_a_cpu_busy() -> None:
    clock = CpuClock()
    while clock.seconds < 0.05:
        pass
    assert clock.cpus > 0.0
    assert clock.wait is None or 0.0 <= clock.wait <= 1.0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::addmm", "matrix product"), ("aten::bmm", "matrix product"),
        ("aten::convolution_backward", "convolution"),
        ("aten::native_layer_norm", "normalisation"), ("aten::copy_", "memory"), ("aten::t", "view"),
        ("aten::_foreach_add_", "optimizer"), ("aten::sum", "reduction"), ("aten::_softmax", "softmax and loss"),
        ("autograd::engine::evaluate_function: AddmmBackward0", "autograd"), ("AddmmBackward0", "autograd"),
        ("aten::index_select", "embedding and index"), ("aten::lstm", "recurrent"),
        ("aten::scaled_dot_product_attention", "attention"), ("aten::gelu", "element-wise and other"),
        ("aten::add_", "element-wise and other"), ("aten::threshold_backward", "element-wise and other"),
        (OUTSIDE, OUTSIDE), ("CompiledFunctionBackward", "compiled code"),
    ],
)  # fmt: skip
def test_the_kind_of_an_operation(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_operations_are_counted_per_step_and_phase() -> None:
    trace = OperationTrace(CPU)
    weight = torch.ones(8, 8, requires_grad=True)
    with trace.running():
        for _ in range(3):
            with trace.phase("forward"):
                loss = (torch.ones(4, 8) @ weight).sum()
            with trace.phase("backward"):
                loss.backward()
    found = {(one.name, one.phase): one for one in trace.result(3, 1.0).operations}
    assert found["aten::mm", "forward"].calls == 1.0
    assert found["aten::mm", "backward"].calls == 1.0
    assert found[OUTSIDE, "forward"].calls == 0.0
    assert all(one.device_seconds == 0.0 for one in found.values())
    assert trace.result(3, 1.0).device_busy is None


def test_a_worker_without_a_profile_imports_nothing_of_it_and_has_the_plain_trainer() -> None:
    """No cost when off: the loop of a step is `Trainer`'s own, which knows nothing of a profile."""
    code = (
        "import sys\n"
        "from types import SimpleNamespace\n"
        "from forge_tui.worker import loop\n"
        "from forge_tui.training.trainer import Trainer\n"
        "assert loop._trainer_of(SimpleNamespace(profile=None)) is Trainer\n"
        "from forge_tui.training.trial_worker import TrialWorker\n"
        "assert loop._trial_worker_of(SimpleNamespace(profile=None)) is TrialWorker\n"
        "print([name for name in sys.modules if 'profil' in name and name.startswith('forge_tui')])\n"
        "print(loop._trainer_of(SimpleNamespace(profile=1.0)).__name__)\n"
        "print(loop._trial_worker_of(SimpleNamespace(profile=1.0)).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "ProfiledTrainer", "ProfiledTrialWorker"]
    from forge_tui.training.trainer import Trainer

    step = Trainer._train_epoch.__code__
    assert not any("profile" in name or "clock" in name for name in (*step.co_names, *step.co_varnames))
