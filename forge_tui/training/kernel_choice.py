"""Which kernel trains a model: decided once, before its first step, and kept by its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from forge_tui.errors import SettingsError
from forge_tui.kernels.library import Library, NoKernel, load_library
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.data.dataset import Dataset, Task
from forge_tui.training.group_state import GroupState
from forge_tui.training.models.planner import depth_for
from forge_tui.training.native_state import NativeState
from forge_tui.training.optimizers import Rates
from forge_tui.training.own_code import OwnCode
from forge_tui.training.state import SingleState, TrainingState

EAGER, NATIVE = "eager", "native"
_MOST_PARAMETERS = 4_000_000
"""Larger models are left to torch by `auto`: its products use all threads, and their weights fit no cache anyway."""
_MOST_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class Kernel:
    """`library`: the native kernel, or None for eager steps; `reason`: why not a native one, where it was possible."""

    library: Library | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """As in NAME.json."""
        return EAGER if self.library is None else NATIVE

    @property
    def conditions(self) -> dict[str, str]:
        """What of it a model's bytes depend on."""
        return {"kernel": self.name} | ({} if self.library is None else {"kernel_build": self.library.build})


def kernel_before(environment: Mapping[str, Any]) -> str:
    """The kernel of a checkpoint, from the conditions in its record; those of early versions name none."""
    return str(environment.get("kernel", EAGER))


def choose_kernel(
    training: TrainingConfig, dataset: Dataset, device: torch.device, own: OwnCode, *, before: str | None = None
) -> Kernel:
    """The kernel of the settings; with `auto` the one that a model has trained with `before`, else the faster one.

    Eager where there is no native kernel, even if the settings ask for it: see `require_kernel`. Compiles it if nobody
    has.
    """
    wanted: str = before if before is not None and training.kernel == "auto" else training.kernel
    if wanted == EAGER:
        return Kernel(reason="as set" if training.kernel == EAGER else "as before")
    problem = native_problem(training, dataset, device, own)
    if problem is None and wanted == "auto" and training.model_size > _MOST_PARAMETERS:
        problem = f"models of more than {_MOST_PARAMETERS:,} parameters are left to torch"
    if problem is None:
        try:
            return Kernel(load_library())
        except NoKernel as error:
            problem = str(error)
    return Kernel(reason=problem)


def require_kernel(training: TrainingConfig, kernel: Kernel) -> None:
    """Raise `SettingsError` unless `kernel` is what the settings of a new run ask for."""
    if training.kernel == NATIVE and kernel.library is None:
        raise SettingsError(f"--kernel native: {kernel.reason}; use --kernel auto")


def native_problem(training: TrainingConfig, dataset: Dataset, device: torch.device, own: OwnCode) -> str | None:
    """Why the native kernel cannot train such models, or None; whether it can be compiled here is not looked at."""
    targets = dataset.train_targets
    possible = {
        f"the models train on {device.type}": device.type == "cpu",
        "only planners are trained natively": training.model_type == "planner" and own.model is None,
        "a custom loss is not trained natively": own.loss is None,
        "tokens are not trained natively": dataset.vocabulary is None,
        "only inputs and weights of float32 are trained natively": (
            dataset.train_inputs.dtype is torch.float32 and torch.get_default_dtype() is torch.float32
        ),
        f"--optimizer {training.optimizer} is not native (adam and adamw are)": training.optimizer in ("adam", "adamw"),
        "GrokFast is not native": not training.grokfast_enabled,
        "gradient clipping is not native": not training.gradient_clip,
        "gradient accumulation is not native": training.accumulate == 1,
        f"--precision {training.precision} is not native": training.precision == "float32",
        "--compile trains by torch.compile": not training.compile,
        "planners of so many blocks are not trained natively": depth_for(training.model_size) <= _MOST_BLOCKS,
        "the targets are neither classes nor rows of numbers": (
            targets.dim() == 1 and targets.dtype is torch.int64
            if dataset.task is Task.CLASSIFICATION
            else targets.dim() == 2 and targets.shape[1] == dataset.outputs
        ),
    }
    return next((problem for problem, is_possible in possible.items() if not is_possible), None)


def new_state(
    training: TrainingConfig,
    dataset: Dataset,
    seeds: Sequence[int],
    device: torch.device,
    own: OwnCode,
    kernel: Kernel,
    rates: Sequence[Rates] | None = None,
) -> TrainingState:
    """Untrained models with weights from their seeds, trained by `kernel`; `rates`: of each, if they differ."""
    if kernel.library is not None:
        return NativeState(training, dataset, seeds, kernel.library, own, rates)
    if len(seeds) == 1:
        return SingleState(training, dataset, seeds[0], device, own)
    return GroupState(training, dataset, seeds, device, own, rates)
