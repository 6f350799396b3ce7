"""What a training step costs natively and in torch's operations, side by side: prints a table.

python tests/benchmarks/native_step.py [--cases 9000x50,104000x6,104000x1] [--batch 32] [--rounds 9]

Each case is SIZExMODELS: planners of that many parameters, 640 samples of 64 features and 10 classes, Adam. Both sides
train the same epoch in turn, with one thread; counted is that thread's CPU time per model and step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from ui_support import machine

from forge_tui.kernels.library import Library, load_library
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training.data import load_dataset
from forge_tui.training.kernel_choice import Kernel, new_state
from forge_tui.training.own_code import NONE
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.process import prepare_process
from forge_tui.training.state import TrainingState

CPU = torch.device("cpu")


class Side:
    """Models that one kernel trains."""

    def __init__(self, settings: Settings, models: int, kernel: Kernel) -> None:
        dataset = load_dataset(settings, Path())
        self._seeds = list(range(models))
        self._state: TrainingState = new_state(settings.training, dataset, self._seeds, CPU, NONE, kernel)
        self._data = PlacedData(dataset, self._state.network, settings.training.batch_size, CPU)

    def epoch(self) -> float:
        """Train one; microseconds of CPU time per model and step."""
        state = self._state
        begun = time.thread_time()
        state.train_epoch(self._data, self._seeds, lambda: True)
        used = time.thread_time() - begun
        state.epoch, state.step_in_epoch = state.epoch + 1, 0
        return 1e6 * used / self._data.batches.steps / len(self._seeds)


def measure(size: int, models: int, options: argparse.Namespace, library: Library) -> None:
    """One line of the table."""
    settings = Settings(
        training=TrainingConfig(model_size=size, batch_size=options.batch),
        data=DataSettings(samples=640, validation_fraction=0.0),
    )
    sides = [Side(settings, models, kernel) for kernel in (Kernel(), Kernel(library))]
    for side in sides:
        side.epoch()
    found = list(zip(*([side.epoch() for side in sides] for _ in range(options.rounds)), strict=True))
    eager, native = ((min(one), statistics.median(one)) for one in found)
    columns = (*eager, *native, eager[0] / native[0], eager[1] / native[1])
    print(f"{size:>10,} × {models:<4}" + "".join(f"{value:11.2f}" for value in columns))


def main() -> None:
    """Measure in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="9000x50,9000x1,104000x6,104000x1,1000000x1")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    prepare_process(CPU)
    print(f"{machine()}; batches of {options.batch}; µs of CPU time per model and step, {options.rounds} rounds")
    columns = ("eager min", "median", "native min", "median", "ratio min", "median")
    print(f"{'size × models':>17}" + "".join(f"{name:>11}" for name in columns))
    library = load_library()
    for case in options.cases.split(","):
        size, models = map(int, case.split("x"))
        measure(size, models, options, library)


if __name__ == "__main__":
    main()
