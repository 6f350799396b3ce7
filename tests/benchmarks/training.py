"""How long a whole run takes, from command to exit, against the same training written by hand: prints a table.

python tests/benchmarks/training.py [--models 12] [--size 104000] [--fuse 1,3,auto] [--peers plain,joblib,ray,jax]

12 planners of 104,000 parameters, 640 samples of 64 features and 10 classes, batch 32, Adam, 100 epochs, a loss record
an epoch. The peers (`training_peers.py`) train the same modules from the same weights on the same batches; `joblib`,
`ray` and `jax` need `pip install -e '.[peers]'`; data and weights for `jax_peer.py` are made before its time begins.
All sides take turns. The losses of epoch 10 have to agree within 1 %.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from ui_support import FORGE_TUI, folder, machine, timed

COMPARED_EPOCH = 10
ALLOWED = 0.01
PEERS = Path(__file__).with_name("training_peers.py")


def by_peer(peer: str, options: argparse.Namespace, place: Path) -> tuple[float, list[float]]:
    """Seconds of one peer's command, and each model's loss of epoch 10."""
    output = place / "losses.jsonl"
    sizes = ("--models", options.models, "--size", options.size, "--epochs", options.epochs)
    command = [sys.executable, PEERS, peer, *sizes, "--output", output]
    if peer == "jax":
        given = place / "given.npz"
        timed([sys.executable, PEERS, "prepare", *sizes, "--output", given], place)
        command = [sys.executable, PEERS.with_name("jax_peer.py"), "--given", given, "--output", output]
    seconds, _ = timed(command, place)
    return seconds, [json.loads(line)[COMPARED_EPOCH - 1] for line in output.read_text(encoding="utf-8").splitlines()]


def by_us(fuse: str, options: argparse.Namespace, place: Path) -> tuple[float, list[float]]:
    """The same of `forge-tui`."""
    settings = ("data.samples=640", "data.validation_fraction=0.0", "data.normalise=false")
    command = [
        *FORGE_TUI, "--no-ui", "--preset", "dedicated", "--workers", options.workers, "--models", options.models,
        "--model-size", options.size, "--epochs", options.epochs, "--threads", 1, "--fuse", fuse, "--output", "run",
        *(part for setting in settings for part in ("--set", setting)),
    ]  # fmt: skip
    seconds, _ = timed(command, place)
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (place / "run").glob("cognate_*.json")]
    records.sort(key=lambda record: record["seed"])
    return seconds, [record["history"][COMPARED_EPOCH - 1]["loss"] for record in records]


def _difference(found: list[float], expected: list[float]) -> float:
    return max(abs(one - other) / other for one, other in zip(found, expected, strict=True))


def main() -> None:
    """Measure in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--size", type=int, default=104_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fuse", default="1,3,auto", help="models a group, several to compare")
    parser.add_argument("--peers", default="plain,joblib")
    options = parser.parse_args()
    told = machine()
    sides = {peer: lambda place, peer=peer: by_peer(peer, options, place) for peer in options.peers.split(",")}
    sides |= {
        f"forge-tui --fuse {fuse}": lambda place, fuse=fuse: by_us(fuse, options, place)
        for fuse in options.fuse.split(",")
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, side in sides.items():
            with folder() as place:
                taken, losses[name] = side(place)
            seconds[name].append(taken)
    first, *_ = sides
    print(
        f"{told}; {options.models} models of {options.size:,} parameters, {options.epochs} epochs, "
        f"median of {options.rounds}"
    )
    print(f"{'':24}{'seconds':>20}{'times as fast':>16}   loss of epoch {COMPARED_EPOCH}: greatest difference")
    for name, values in seconds.items():
        middle = statistics.median(values)
        spread = f"{middle:.2f} ({min(values):.2f}–{max(values):.2f})"
        apart = _difference(losses[name], losses[first])
        mark = "" if apart <= ALLOWED else "  NOT THE SAME TRAINING"
        print(f"{name:24}{spread:>20}{statistics.median(seconds[first]) / middle:16.2f}   {100 * apart:.3f} %{mark}")


if __name__ == "__main__":
    main()
