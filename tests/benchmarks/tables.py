"""Tables against a scikit-learn MLP with the usual pipeline, and a plain torch loop: scores and seconds.

python tests/benchmarks/tables.py [--seeds 5] [--epochs 60] [--table FILE.csv:TARGET ...]

scikit-learn's digits, wine, breast cancer and diabetes, and the tables that are named. A fifth of the rows, the same
for all sides, is held back; no side chooses by it. scikit-learn and torch get medians for missing numbers, scaled
numbers and one-hot texts; we get the file. Each side trains a network of about the same size, by Adam, for as many
epochs and batches. The score is accuracy, or R² of numbers: the mean of the seeds, and in brackets their standard
deviation. Seconds are those of all seeds, ours with the start of the run and its reading of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars
import torch
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn
from ui_support import FORGE_TUI, folder, machine, own_state

HIDDEN = 64
BATCH = 32
PART = "held_back"


@dataclass(frozen=True)
class Table:
    """A table with a target; `held`: the rows that are held back."""

    name: str
    frame: polars.DataFrame
    target: str
    held: np.ndarray

    @property
    def is_classes(self) -> bool:
        """Whether the target is one of classes."""
        values = self.frame[self.target]
        return values.dtype == polars.String or (values.dtype.is_integer() and values.n_unique() <= 20)


def bundled() -> list[tuple[str, polars.DataFrame, str]]:
    """The tables of scikit-learn."""
    found = []
    for name in ("digits", "wine", "breast_cancer", "diabetes"):
        loaded = getattr(datasets, f"load_{name}")()
        columns = {str(column): loaded.data[:, place] for place, column in enumerate(loaded.feature_names)}
        found.append((name, polars.DataFrame(columns | {"target": loaded.target}), "target"))
    return found


def with_parts(name: str, frame: polars.DataFrame, target: str) -> Table:
    """A table without the rows that have no target, a fifth of the others held back."""
    frame = frame.filter(polars.col(target).is_not_null())
    rows = list(range(frame.height))
    random.Random(0).shuffle(rows)
    held = np.zeros(frame.height, dtype=bool)
    held[rows[: frame.height // 5]] = True
    return Table(name, frame, target, held)


def encoded(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Features by the usual pipeline, fitted on the training rows, and targets (classes as numbers)."""
    train, parts = ~table.held, []
    for column in table.frame.drop(table.target).iter_columns():
        if column.dtype.is_numeric() or column.dtype == polars.Boolean:
            values = column.cast(polars.Float64).to_numpy().reshape(-1, 1)
            if np.isnan(values[train]).all():
                continue
            values = SimpleImputer(strategy="median").fit(values[train]).transform(values)
            parts.append(StandardScaler().fit(values[train]).transform(values))
        else:
            words = column.cast(polars.String).fill_null("").to_numpy().reshape(-1, 1).astype(object)
            encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(words[train])
            parts.append(encoder.transform(words))
    targets = table.frame[table.target].to_numpy()
    if table.is_classes:
        targets = np.unique(targets, return_inverse=True)[1]
    return np.hstack(parts).astype(np.float32), targets


def score(table: Table, wanted: np.ndarray, given: np.ndarray) -> float:
    """Accuracy or R²."""
    return float(accuracy_score(wanted, given) if table.is_classes else r2_score(wanted, given))


def of_sklearn(table: Table, epochs: int, seed: int) -> float:
    """The score of a multi-layer perceptron of scikit-learn."""
    features, targets = encoded(table)
    kind = MLPClassifier if table.is_classes else MLPRegressor
    model = kind(
        hidden_layer_sizes=(HIDDEN, HIDDEN), batch_size=BATCH, max_iter=epochs, n_iter_no_change=epochs, tol=0.0,
        random_state=seed,
    )  # fmt: skip
    train, held = ~table.held, table.held
    mean, scale = (0.0, 1.0) if table.is_classes else (targets[train].mean(), targets[train].std())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features[train], targets[train] if table.is_classes else (targets[train] - mean) / scale)
    found = model.predict(features[held])
    return score(table, targets[held], found if table.is_classes else found * scale + mean)


def of_torch(table: Table, epochs: int, seed: int) -> float:
    """The score of a plain loop of torch."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    all_features, all_targets = encoded(table)
    train, held = ~table.held, table.held
    features = torch.from_numpy(all_features[train])
    outputs = int(all_targets.max()) + 1 if table.is_classes else 1
    mean, scale = all_targets[train].mean(), all_targets[train].std()
    scaled = all_targets if table.is_classes else ((all_targets - mean) / scale).astype(np.float32)
    targets = torch.from_numpy(scaled[train])
    hidden = nn.Linear(features.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
    model = nn.Sequential(*hidden, nn.Linear(HIDDEN, outputs))
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(epochs):
        order = torch.randperm(len(features))
        for begin in range(0, len(features), BATCH):
            rows = order[begin : begin + BATCH]
            found = model(features[rows])
            loss = (
                nn.functional.cross_entropy(found, targets[rows])
                if table.is_classes
                else nn.functional.mse_loss(found[:, 0], targets[rows])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        found = model(torch.from_numpy(all_features[held]))
    given = found.argmax(dim=1).numpy() if table.is_classes else found[:, 0].numpy() * scale + mean
    return score(table, all_targets[held], given)


def ours(table: Table, epochs: int, seeds: int, home: Path) -> list[float]:
    """The scores of a run with a model per seed."""
    path, output = home / f"{table.name}.csv", home / f"run-{table.name}"
    table.frame.with_columns(polars.Series(PART, table.held)).write_csv(path)
    size = 2_000 if table.frame.width < 5 else 10_000
    task = "classification" if table.is_classes else "regression"
    subprocess.run(
        [
            *FORGE_TUI, "--no-ui", "--dataset", str(path), "--target", table.target, "--models", str(seeds), "--epochs",
            str(epochs), "--model-size", str(size), "--batch-size", str(BATCH), "--preset", "dedicated", "--set",
            f"data.validation={PART}", "--set", f"data.task={task}", "--output", str(output),
        ],
        check=True, capture_output=True, env={**os.environ, **own_state(home)},
    )  # fmt: skip
    name = "validation_accuracy" if table.is_classes else "validation_r2"
    records = [json.loads(path.read_text()) for path in sorted(output.glob("cognate_*.json"))]
    return [record["metrics"][name] for record in records]


def main() -> None:
    """Print a line per table: score and seconds of each side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--table", action="append", default=[], metavar="FILE.csv:TARGET")
    given = parser.parse_args()
    tables = [with_parts(*one) for one in bundled()]
    for named in given.table:
        path, _, target = named.rpartition(":")
        frame = polars.read_csv(path, null_values=["NA", ""], infer_schema_length=None)
        tables.append(with_parts(Path(path).stem, frame.select(column for column in frame.columns if column), target))
    print(machine())
    titles = "   ".join(f"{side:^24}" for side in ("forge-tui", "scikit-learn", "torch"))
    print(f"{'table':16} {'rows':>6} {'columns':>8}   {titles}")
    with folder() as home:
        for table in tables:
            cells = []
            sides: list[Any] = [
                lambda table=table: ours(table, given.epochs, given.seeds, home),
                lambda table=table: [of_sklearn(table, given.epochs, seed) for seed in range(given.seeds)],
                lambda table=table: [of_torch(table, given.epochs, seed) for seed in range(given.seeds)],
            ]
            for side in sides:
                begun = time.perf_counter()
                scores = side()
                spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
                cells.append(f"{statistics.mean(scores):7.4f} (±{spread:.4f}) {time.perf_counter() - begun:5.1f} s")
            print(
                f"{table.name:16} {table.frame.height:6} {table.frame.width - 1:8}   " + "   ".join(cells), flush=True
            )


if __name__ == "__main__":
    main()
