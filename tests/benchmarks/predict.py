"""Rows a second and peak memory of predictions for a large table, against the same model called by hand in batches.

Run it as `python tests/benchmarks/predict.py` (a million rows of 20 numbers; `--rows`, `--model-size`, `--rounds`). The
sides take turns, each in a process of its own. `array` and `frame` are timed from what is in memory to the classes;
`parquet` and `csv` from the start of a process that reads the file to its end, with the classes written as CSV.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars

COLUMNS = 20
# The fastest of 1,024 to 65,536 for the model of the benchmark.
BATCH = 1 << 14
KINDS = ("array", "frame", "parquet", "csv")


def prepare(place: Path, options: argparse.Namespace) -> None:
    """A small run on a table, and large tables of its columns."""
    random = np.random.default_rng(1)
    values = random.normal(size=(3_000, COLUMNS))
    names = [f"f{number}" for number in range(COLUMNS)]
    kinds = np.array(["low", "middle", "high"])[np.digitize(values[:, 0] + values[:, 1], (-0.7, 0.7))]
    columns: dict[str, Any] = {name: values[:, number] for number, name in enumerate(names)}
    polars.DataFrame({**columns, "kind": kinds}).write_csv(place / "small.csv")
    command = [sys.executable, "-m", "forge_tui", "--no-ui", "--dataset", "small.csv", "--target", "kind", "--epochs"]
    command += ["3", "--models", "1", "--model-size", str(options.model_size), "--output", "run"]
    subprocess.run(command, cwd=place, check=True, capture_output=True)
    frames = (
        polars.DataFrame({name: random.normal(size=min(100_000, options.rows - begin)) for name in names})
        for begin in range(0, options.rows, 100_000)
    )
    frame = polars.concat(list(frames))
    frame.write_parquet(place / "large.parquet")
    frame.write_csv(place / "large.csv")
    np.save(place / "large.npy", frame.to_numpy().astype(np.float32))


def by_hand(model: Any, rows: int, batch_of: Callable[[int, int], np.ndarray]) -> list[str]:
    """The classes of all rows, as one would write it."""
    import torch

    found = []
    with torch.no_grad():
        for begin in range(0, rows, BATCH):
            found.append(model(torch.from_numpy(batch_of(begin, begin + BATCH))).argmax(dim=1))
    return np.array(model.classes)[torch.cat(found).numpy()].tolist()


def side(kind: str, is_ours: bool) -> float:
    """One side in this process; seconds without what comes before for `array` and `frame`."""
    from forge_tui import load_model

    model = load_model(Path("run") / "cognate_planner_1")
    given: Any = np.load("large.npy") if kind == "array" else None
    if given is None:
        given = polars.read_csv("large.csv") if kind == "csv" else polars.read_parquet("large.parquet")
    begun = time.perf_counter()
    if is_ours:
        found = model.predict(given).tolist()
    elif kind == "array":
        found = by_hand(model, len(given), lambda begin, end: given[begin:end])
    else:
        found = by_hand(model, len(given), lambda begin, end: given[begin:end].to_numpy().astype(np.float32, order="C"))
    seconds = time.perf_counter() - begun
    if kind in ("parquet", "csv"):
        polars.DataFrame({"prediction": found}).write_csv("hand.csv")
    return seconds


def measured(kind: str, is_ours: bool, place: Path) -> tuple[float, float]:
    """Seconds and peak memory (MB) of a side."""
    command = [sys.executable, __file__, "--side", kind, *(["--ours"] if is_ours else [])]
    is_file = kind in ("parquet", "csv")
    if is_file and is_ours:
        command = [sys.executable, "-m", "forge_tui", "predict", "run", f"large.{kind}", "--output", "ours.csv"]
    begun = time.perf_counter()
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{command} failed")
    if is_file:
        if is_ours and (place / "hand.csv").exists():
            assert (place / "ours.csv").read_bytes() == (place / "hand.csv").read_bytes(), "the predictions differ"
        return seconds, used.ru_maxrss / 1024
    return json.loads(said), used.ru_maxrss / 1024


def main() -> None:
    """Compare, or be one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model-size", type=int, default=10_000)
    parser.add_argument("--side", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(side(options.side, options.ours)))
        return
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        os.environ["FORGE_TUI_STATE"] = str(Path(directory) / "state")
        place = Path(directory)
        prepare(place, options)
        for _ in range(options.rounds):
            for kind in KINDS:
                for is_ours in (False, True):
                    found.setdefault((kind, is_ours), []).append(measured(kind, is_ours, place))
    load = os.getloadavg()[0]
    print(
        f"{options.rows:,} rows of {COLUMNS} numbers, a model of {options.model_size:,} parameters, load at the end "
        f"{load:.1f}, median of {options.rounds}"
    )
    print(f"{'':10}{'by hand, rows/s':>20}{'predict, rows/s':>20}{'ratio':>8}{'by hand, MB':>14}{'predict, MB':>14}")
    for kind in KINDS:
        hand, ours = (found[kind, is_ours] for is_ours in (False, True))
        rates = [options.rows / statistics.median(seconds for seconds, _ in runs) for runs in (hand, ours)]
        peaks = [statistics.median(peak for _, peak in runs) for runs in (hand, ours)]
        print(
            f"{kind:10}{rates[0]:20,.0f}{rates[1]:20,.0f}{rates[1] / rates[0]:8.2f}{peaks[0]:14,.0f}{peaks[1]:14,.0f}"
        )


if __name__ == "__main__":
    main()
