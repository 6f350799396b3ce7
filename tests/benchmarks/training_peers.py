"""The peers of `training.py`: the same models on the same data in the same order, trained as people write it by hand.

python training_peers.py plain|joblib|ray|prepare --models N --size P --epochs E --output FILE

Each writes one JSON line a model: its loss of every epoch. `plain` is a loop in one process with as many threads as
PyTorch takes by itself; `joblib` gives each model to one of as many processes as there are CPUs; `ray` is Ray Tune with
a trial a model, as many at once as there are CPUs, which reports every epoch as it ends. `prepare` trains nothing: it
writes data, initial weights and orders as .npz for `jax_peer.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from forge_tui.settings.schema import DataSettings, Settings
from forge_tui.training.data.synthetic import synthetic_dataset
from forge_tui.training.models.build import build_model
from forge_tui.training.order import epoch_order

SAMPLES, BATCH = 640, 32


def losses_of(seed: int, size: int, epochs: int, threads: int | None = None) -> Iterator[float]:
    """Train one model; gives the mean loss of every epoch when it has ended."""
    if threads is not None:
        torch.set_num_threads(threads)
    data = synthetic_dataset(Settings(data=DataSettings(samples=SAMPLES, validation_fraction=0.0, normalise=False)))
    torch.manual_seed(seed)
    model = build_model("planner", size, data.inputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(1, epochs + 1):
        order = epoch_order(SAMPLES, seed, epoch)
        total = 0.0
        for start in range(0, SAMPLES, BATCH):
            rows = order[start : start + BATCH]
            optimizer.zero_grad()
            loss = criterion(model(data.train_inputs[rows]), data.train_targets[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        yield total / SAMPLES


def train(seed: int, size: int, epochs: int, threads: int | None = None) -> list[float]:
    """Train one model; returns the mean loss of every epoch."""
    return list(losses_of(seed, size, epochs, threads))


def _prepare(options: argparse.Namespace) -> None:
    data = synthetic_dataset(Settings(data=DataSettings(samples=SAMPLES, validation_fraction=0.0, normalise=False)))
    each = []
    for seed in range(options.models):
        torch.manual_seed(seed)
        each.append(build_model("planner", options.size, data.inputs).state_dict())
    weights = {name: np.stack([one[name].numpy() for one in each]) for name in each[0]}
    orders = [
        [epoch_order(SAMPLES, seed, epoch).view(-1, BATCH).numpy() for epoch in range(1, options.epochs + 1)]
        for seed in range(options.models)
    ]
    with options.output.open("wb") as file:
        np.savez(
            file,
            inputs=data.train_inputs.numpy(),
            targets=data.train_targets.numpy(),
            orders=np.stack(orders),
            **weights,
        )


def _plain(options: argparse.Namespace) -> list[list[float]]:
    return [train(seed, options.size, options.epochs) for seed in range(options.models)]


def _joblib(options: argparse.Namespace) -> list[list[float]]:
    from joblib import Parallel, delayed

    workers = len(os.sched_getaffinity(0))
    jobs = (delayed(train)(seed, options.size, options.epochs, 1) for seed in range(options.models))
    return list(Parallel(n_jobs=workers)(jobs))


def _ray(options: argparse.Namespace) -> list[list[float]]:
    import ray
    from ray import tune

    def trainable(config: dict[str, Any]) -> None:
        for loss in losses_of(config["seed"], options.size, options.epochs, 1):
            tune.report({"loss": loss})

    # One CPU a trial is what Ray Tune takes by itself; it would count the machine's CPUs, not those allowed here.
    if options.address is None:
        ray.init(num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, logging_level="ERROR")
    else:
        ray.init(address=options.address, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as storage:
        tuner = tune.Tuner(
            trainable,
            param_space={"seed": tune.grid_search(list(range(options.models)))},
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        )
        results = tuner.fit()
        by_seed = {result.config["seed"]: list(result.metrics_dataframe["loss"]) for result in results}
    return [by_seed[seed] for seed in range(options.models)]


def main() -> None:
    """Train, and write the losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("plain", "joblib", "ray", "prepare"))
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--size", type=int, default=104_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--address", help="ray: of a running cluster, in place of one of its own")
    options = parser.parse_args()
    if options.peer == "prepare":
        _prepare(options)
        return
    found = {"plain": _plain, "joblib": _joblib, "ray": _ray}[options.peer](options)
    options.output.write_text("".join(json.dumps(losses) + "\n" for losses in found), encoding="utf-8")


if __name__ == "__main__":
    main()
