"""The native step of planners, called with addresses of tensors: `source/planner.cpp`.

The caller vouches for the tensors: float32 unless said otherwise, contiguous, on the CPU, of the shapes given here, and
alive during the call; and for classes within 0 … outputs − 1.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

from forge_tui.kernels.library import Library

_Integer, _Long, _Double, _Address = ctypes.c_int32, ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
ALIGNMENT = 64
"""Bytes to which `scratch` must be aligned."""


class _Plan(ctypes.Structure):
    """`Plan` in planner.cpp."""

    _fields_ = (
        ("features", _Integer), ("width", _Integer), ("hidden", _Integer), ("depth", _Integer), ("outputs", _Integer),
        ("batch", _Integer), ("is_classes", _Integer), ("is_decoupled", _Integer),
        ("beta1", _Double), ("beta2", _Double), ("epsilon", _Double), ("smoothing", _Double),
        ("class_weights", _Address),
    )  # fmt: skip


class _Steps(ctypes.Structure):
    """`Steps` in planner.cpp."""

    _fields_ = (
        ("first_model", _Integer), ("models", _Integer), ("steps", _Integer),
        ("first_sample", _Long), ("samples", _Long), ("before", _Long),
        ("inputs", _Address), ("targets", _Address), ("orders", _Address),
        ("rates", _Address), ("rates_pitch", _Long), ("decays", _Address), ("losses", _Address),
        ("weights", _Address), ("averages", _Address), ("squares", _Address), ("scratch", _Address),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerPlan:
    """What is equal for all models and steps.

    `batch`: samples per step; `is_classes`: cross entropy with `smoothing` and the `class_weights` at this address,
    (outputs,) (0: equal), else mean squared error; `is_decoupled`: AdamW.
    """

    features: int
    width: int
    hidden: int
    depth: int
    outputs: int
    batch: int
    is_classes: bool
    is_decoupled: bool
    beta1: float
    beta2: float
    epsilon: float
    smoothing: float
    class_weights: int


@dataclass(frozen=True, slots=True)
class Addresses:
    """Those of each parameter's numbers, (models, inputs, outputs) or (models, outputs), and of their moments.

    The parameters: weight and bias of `enter`; of each block scale and shift, weight and bias of `inner`, and of
    `outer`; weight and bias of `leave`.
    """

    weights: Sequence[int]
    averages: Sequence[int]
    squares: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerSteps:
    """Some steps of one epoch, for all models.

    `first_sample` of `samples` in the epoch begins them, after `before` steps of all training. Addresses: `inputs`
    (rows, features); `targets` (rows,) int64, or (rows, outputs); `orders` (models, samples) int64, of rows; `losses`
    (models,) float64, sums over samples that grow. `rates` of each step, then each model; `decays` of each model.
    """

    models: int
    steps: int
    first_sample: int
    samples: int
    before: int
    inputs: int
    targets: int
    orders: int
    losses: int
    rates: Sequence[float]
    decays: Sequence[float]


class PlannerKernel:
    """Steps of planners that lie at fixed addresses. It may be called from several threads, for different models."""

    def __init__(self, library: Library, plan: PlannerPlan, addresses: Addresses) -> None:
        """Raises `ValueError` for a planner that is too deep."""
        self._train = library.functions.train_planners
        self._train.restype = None
        size = library.functions.scratch_size
        size.restype = _Long
        self._plan = _Plan(*(getattr(plan, name) for name, _ in _Plan._fields_))
        self.scratch_numbers = int(size(ctypes.byref(self._plan)))
        """How many float32 numbers a thread needs for its work."""
        if self.scratch_numbers < 0:
            raise ValueError(f"a planner of {plan.depth} blocks is too deep for the native kernel")
        self._weights, self._averages, self._squares = (
            (_Address * len(part))(*part) for part in (addresses.weights, addresses.averages, addresses.squares)
        )

    def prepared(self, steps: PlannerSteps) -> PreparedSteps:
        """The steps, to be carried out model by model."""
        rates = (_Double * len(steps.rates))(*steps.rates)
        decays = (_Double * len(steps.decays))(*steps.decays)
        return PreparedSteps(self, steps, rates, decays)


class PreparedSteps:
    """Steps of all models of a kernel."""

    def __init__(
        self,
        kernel: PlannerKernel,
        steps: PlannerSteps,
        rates: ctypes.Array[ctypes.c_double],
        decays: ctypes.Array[ctypes.c_double],
    ) -> None:
        self._kernel, self._steps, self._rates, self._decays = kernel, steps, rates, decays

    def train(self, first: int, models: int, scratch: int) -> None:
        """Carry out the steps of `models` from number `first` on, without the GIL.

        `scratch`: the address of `scratch_numbers` float32 numbers that nobody else uses, aligned to `ALIGNMENT`.
        """
        kernel, steps = self._kernel, self._steps
        arrays = (self._rates, self._decays, kernel._weights, kernel._averages, kernel._squares)
        rates, decays, weights, averages, squares = (ctypes.addressof(array) for array in arrays)
        call = _Steps(
            first, models, steps.steps, steps.first_sample, steps.samples, steps.before, steps.inputs,
            steps.targets, steps.orders, rates, steps.models, decays, steps.losses, weights, averages, squares, scratch,
        )  # fmt: skip
        kernel._train(ctypes.byref(kernel._plan), ctypes.byref(call))
