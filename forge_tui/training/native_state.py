"""A group of planners, or a single one, whose steps a native kernel carries out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from forge_tui.kernels.library import Library
from forge_tui.kernels.planner import ALIGNMENT, Addresses, PlannerKernel, PlannerPlan, PlannerSteps, PreparedSteps
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.data.dataset import Dataset, Task
from forge_tui.training.data.stored import StoredRows
from forge_tui.training.group_state import GroupState
from forge_tui.training.models.planner import Planner
from forge_tui.training.optimizers import EPSILON, Adam, Optimizer, Rates
from forge_tui.training.own_code import NONE, OwnCode
from forge_tui.training.placed_data import PlacedData

# A call has as many steps as take about this long: a stop or a pause waits for them, and a model's state stays in the
# cache for all of them.
_CALL_SECONDS = 0.01
# Arithmetic of one core, for that purpose only.
_OPERATIONS_PER_SECOND = 6e10
# What is read from the disk for a call, at most.
_READ_BYTES = 32 << 20
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class _Bound:
    """A kernel with what it works on: the tensors behind its addresses stay alive with it."""

    kernel: PlannerKernel
    data: PlacedData
    optimizer: Optimizer
    targets: Tensor
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """Of some steps: rows of `inputs` and `targets` in the order of each model, from number `first` on."""

    inputs: Tensor
    targets: Tensor
    orders: Tensor
    first: int


class NativeState(GroupState):
    """As `GroupState`, with the kernel's rounding: equal whatever the group, the threads, and the steps per call."""

    kernel = "native"

    def __init__(
        self,
        training: TrainingConfig,
        dataset: Dataset,
        seeds: Sequence[int],
        library: Library,
        own: OwnCode = NONE,
        rates: Sequence[Rates] | None = None,
    ) -> None:
        """New models with weights from their seeds; `kernel_choice.native_problem` must have nothing against them."""
        super().__init__(training, dataset, seeds, _CPU, own, rates)
        self._library = library
        self._bound: _Bound | None = None
        self._scratch: list[Tensor] = []
        self._pool: ThreadPoolExecutor | None = None

    def train_epoch(self, data: PlacedData, seeds: Sequence[int], may_continue: Callable[[], bool]) -> bool:
        """Train the epoch's remaining steps, several per call; as `TrainingState.train_epoch`."""
        orders = data.batches.orders(seeds, self.epoch + 1)
        most = self._steps_per_call(data)
        while (left := self._epoch_steps - self.step_in_epoch) > 0:
            wanted, steps = min(most, left), 0
            while steps < wanted and may_continue():
                steps += 1
            if steps:
                self._train(data, orders, steps)
            if steps < wanted:
                return False
        return True

    def _steps_per_call(self, data: PlacedData) -> int:
        if self.training.weights_average:
            return 1  # the average follows every step
        # Forward pass, gradients of activations and of weights: a product and a sum each, per weight and sample.
        operations = 6 * self.training.batch_size * sum(item.numel() for item in self.parameters)
        most = _CALL_SECONDS * _OPERATIONS_PER_SECOND / operations
        inputs = data.batches.inputs
        if isinstance(inputs, StoredRows):
            sample = inputs.dtype.itemsize * inputs.shape[1]
            most = min(most, _READ_BYTES / (sample * self.training.batch_size * len(self.progress)))
        return max(1, int(most))

    def _train(self, data: PlacedData, orders: Tensor, steps: int) -> None:
        bound, optimizer = self._bound_to(data), self.optimizer
        assert isinstance(optimizer, Adam)
        factors = [self._rate_factor(self.step + number) for number in range(1, steps + 1)]
        models = len(self.progress)
        samples = self._samples_of(data, bound, orders, steps)
        call = PlannerSteps(
            models=models,
            steps=steps,
            first_sample=samples.first,
            samples=samples.orders.shape[1],
            before=optimizer.steps_taken,
            inputs=samples.inputs.data_ptr(),
            targets=samples.targets.data_ptr(),
            orders=samples.orders.data_ptr(),
            losses=self.loss_sum.data_ptr(),
            rates=[rates.learning_rate * factor for factor in factors for rates in optimizer.rates],
            decays=[rates.weight_decay for rates in optimizer.rates],
        )
        self._carry_out(bound.kernel, bound.kernel.prepared(call), models)
        optimizer.has_stepped(steps)
        self.average.follow()
        self.step += steps
        self.step_in_epoch += steps

    def _samples_of(self, data: PlacedData, bound: _Bound, orders: Tensor, steps: int) -> _Samples:
        """Rows on the disk are read."""
        inputs, size = data.batches.inputs, self.training.batch_size
        first = self.step_in_epoch * size
        if isinstance(inputs, Tensor):
            return _Samples(inputs, bound.targets, orders, first)
        read = orders[:, first : first + steps * size]
        rows = read.flatten()
        numbers = torch.arange(len(rows)).view(read.shape)
        return _Samples(inputs[rows].contiguous(), bound.targets[rows].contiguous(), numbers, 0)

    def _carry_out(self, kernel: PlannerKernel, steps: PreparedSteps, models: int) -> None:
        """Each thread has an equal share of the models."""
        threads = min(torch.get_num_threads(), models)
        while len(self._scratch) < threads:
            self._scratch.append(torch.empty(kernel.scratch_numbers + ALIGNMENT, dtype=torch.float32))
        shares = [models * number // threads for number in range(threads + 1)]

        def share(number: int) -> None:
            address = self._scratch[number].data_ptr()
            aligned = -(-address // ALIGNMENT) * ALIGNMENT
            steps.train(shares[number], shares[number + 1] - shares[number], aligned)

        if threads == 1:
            share(0)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(thread_name_prefix="native step")
        others = [self._pool.submit(share, number) for number in range(1, threads)]
        share(0)
        for other in others:
            other.result()

    def _bound_to(self, data: PlacedData) -> _Bound:
        """The kernel of the present tensors and data."""
        bound = self._bound
        if bound is None or bound.data is not data or bound.optimizer is not self.optimizer:
            bound = self._bound = self._bind(data)
            self._scratch.clear()
        return bound

    def _bind(self, data: PlacedData) -> _Bound:
        optimizer, body, training = self.optimizer, self.network.body, self.training
        inputs, targets = data.batches.inputs, data.train_targets.contiguous()
        assert isinstance(optimizer, Adam)
        assert isinstance(body, Planner)
        is_classes = data.task is Task.CLASSIFICATION
        if not is_classes:
            targets = targets.to(torch.float32)
        averages, squares = optimizer.moments
        weights: list[Tensor] = list(self.parameters)
        of_classes = [] if self._class_weights is None else [self._class_weights.contiguous()]
        in_memory = [inputs] if isinstance(inputs, Tensor) else []
        tensors = (*weights, *averages, *squares, *of_classes, *in_memory, *([] if is_classes else [targets]))
        if any(item.dtype is not torch.float32 or not item.is_contiguous() for item in tensors):
            raise ValueError("the native kernel takes contiguous tensors of float32")
        if is_classes and (targets.dtype is not torch.int64 or targets.min() < 0 or targets.max() >= body.outputs):
            raise ValueError(f"the native kernel takes classes from 0 to {body.outputs - 1}")
        plan = PlannerPlan(
            features=body.features,
            width=body.width,
            hidden=body.hidden,
            depth=len(body.blocks),
            outputs=body.outputs,
            batch=min(training.batch_size, data.batches.samples),
            is_classes=is_classes,
            is_decoupled=training.optimizer == "adamw",
            beta1=training.betas[0],
            beta2=training.betas[1],
            epsilon=EPSILON,
            smoothing=training.label_smoothing,
            class_weights=of_classes[0].data_ptr() if of_classes else 0,
        )
        addresses = Addresses(*([item.data_ptr() for item in part] for part in (weights, averages, squares)))
        kernel = PlannerKernel(self._library, plan, addresses)
        return _Bound(kernel, data, optimizer, targets, tensors)
