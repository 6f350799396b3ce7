"""A program of your own: forge-tui runs it once per model, as `settings.toml` beside this file says.

It fits a line to points, in plain Python, and may be any program in any language. By itself it does the same, and
reports nothing: python train.py --seed 1
"""

import argparse
import json
import os
import random
from pathlib import Path

import forge_tui


def main() -> None:
    """Train a model; continue where an earlier attempt was killed or stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--directory", type=Path, default=Path("."), help="where its files are")
    chosen = parser.parse_args()

    saved = chosen.directory / "model.json"
    state = {"epoch": 0, "slope": 0.0, "height": 0.0}
    if saved.exists():
        state = json.loads(saved.read_text())

    data = random.Random(0)  # the same data for every model
    points = [(x, 2 * x - 1 + data.gauss(0, 0.1)) for x in (data.uniform(-1, 1) for _ in range(200))]
    for epoch in range(int(state["epoch"]) + 1, chosen.epochs + 1):
        total = 0.0
        order = random.Random(f"{chosen.seed} {epoch}")  # from seed and epoch: the same after a kill
        for x, y in order.sample(points, len(points)):
            error = state["slope"] * x + state["height"] - y
            state["slope"] -= chosen.lr * error * x
            state["height"] -= chosen.lr * error
            total += error * error
        # Any number has a name of its own: {"my/metric": value}.
        forge_tui.report({"slope": state["slope"]}, loss=total / len(points), epoch=epoch)
        state["epoch"] = epoch
        half = saved.with_suffix(".half")  # written whole or not at all
        half.write_text(json.dumps(state))
        os.replace(half, saved)


if __name__ == "__main__":
    main()
