"""What mean and deviation over seeds cost for the chart: `python tests/benchmarks/seed_curve.py` (about half a minute).

Writes a run of many models and epochs, then prints how long it takes to read it for the first time, to draw the first
picture, and to repaint when every model has gone some epochs further.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from forge_tui.client.run import Run
from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.store import RunStore
from forge_tui.tui.chart.seeds import SeedReader

BUCKETS = 240


def epochs(store: RunStore, models: list[ModelState], first: int, last: int) -> None:
    """Write epochs `first` … `last` of every model."""
    for epoch in range(first, last + 1):
        for model in models:
            loss = 2.0 / epoch + 0.01 * model.index
            store.append(
                EpochFinished(
                    time=1.0 * epoch, model=model.name, index=model.index, attempt=1, epoch=epoch, epochs=model.epochs,
                    step=epoch, best_loss=loss, seconds=0.1, eta_seconds=1.0,
                    metrics={
                        "loss": loss, "validation_loss": 1.2 * loss, "learning_rate": 0.001, "steps_per_second": 10.0,
                    },
                )
            )  # fmt: skip
        if epoch % 200 == 0:
            store.flush()
    store.flush()


def main() -> None:
    """Write, read, repaint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--repaints", type=int, default=7)
    parser.add_argument("--between", type=int, default=5, help="epochs of every model between two repaints")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder) / "run")
        directory.create()
        models = [
            ModelState(name=f"m{index}", index=index, seed=index, epochs=options.epochs, phase=TrainingPhase.TRAINING,
                       epoch=1, metrics={"validation_loss": 1.0})
            for index in range(1, options.models + 1)
        ]  # fmt: skip
        info = RunInfo(
            run="run", path=str(directory.path), mode="parallel", policy="shared", model_type="planner",
            models=options.models, epochs=options.epochs, created=1.0,
        )  # fmt: skip
        store = RunStore.create(directory.database, info, models)
        reached = options.epochs - options.repaints * options.between
        epochs(store, models, 1, reached)
        with Run(directory.path) as run:
            reader = SeedReader(run)
            begun = time.perf_counter()
            reader.fetch(models, BUCKETS)
            print(f"{options.models} models of {reached} epochs, first picture: {time.perf_counter() - begun:.2f} s")
            taken = []
            for _ in range(options.repaints):
                epochs(store, models, reached + 1, reached + options.between)
                reached += options.between
                models = [replace(model, epoch=reached) for model in models]
                begun = time.perf_counter()
                reader.fetch(models, BUCKETS)
                taken.append(time.perf_counter() - begun)
            print(f"repaint after {options.between} epochs of each: median {1e3 * statistics.median(taken):.1f} ms")
            begun = time.perf_counter()
            reader.fetch(models, BUCKETS)
            print(f"repaint when nothing is new: {1e3 * (time.perf_counter() - begun):.1f} ms")
        store.close()


if __name__ == "__main__":
    main()
