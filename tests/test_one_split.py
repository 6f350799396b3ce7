"""A dataset function that draws without a seed: one split for all models, workers and resumes of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from depth import deep
from running import SMALL, events, forge

DATA = """
import random
import numpy as np
import torch

MADE = torch.randn(4).tolist()  # while it is imported

def rows():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(200, 16, generator=generator), torch.randint(2, (200,), generator=generator)

def parts(train, held):
    print("SPLIT", sorted(held)[:8], MADE, flush=True)
    x, y = rows()
    return x[train], y[train], x[held], y[held]

def with_scikit_learn():
    from sklearn.model_selection import train_test_split
    return parts(*train_test_split(list(range(200)), test_size=0.3))

def with_torch():
    train, held = torch.utils.data.random_split(range(200), [140, 60])
    return parts(list(train), list(held))

def with_random():
    order = list(range(200))
    random.shuffle(order)
    return parts(order[:140], order[140:])

def with_sets():
    names = list({f"patient {number}" for number in range(200)})
    order = [int(name.split()[1]) for name in names]
    return parts(order[:140], order[140:])

def with_numpy():
    order = np.random.permutation(200).tolist()
    return parts(order[:140], order[140:])

def with_random_and_numpy():
    order = np.random.permutation(200).tolist()
    random.shuffle(order)
    return parts(order[:140], order[140:])

def never_the_same():
    order = np.random.default_rng().permutation(200).tolist()
    return parts(order[:140], order[140:])
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "data.py").write_text(DATA, encoding="utf-8")
    return tmp_path


def splits(directory: Path) -> list[str]:
    """What the workers of a run printed of their splits."""
    logs = sorted((directory / "logs").glob("cognate*.log"))
    return [line for log in logs for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("SPLIT")]


def record_of(directory: Path, index: int = 1) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((directory / f"cognate_planner_{index}.json").read_bytes())
    return record


@pytest.mark.parametrize(
    "function",
    [
        "with_random_and_numpy", "with_sets",
        *map(deep, ("with_scikit_learn", "with_torch", "with_random", "with_numpy")),
    ],
)  # fmt: skip
def test_all_models_and_a_resume_have_one_split(place: Path, function: str) -> None:
    run = ("--dataset", f"data.py:{function}", "--models", "2", "--epochs", "1", "--output", "run")
    forge("--no-ui", *SMALL, *run, cwd=place)
    forge("resume", "run", "--no-ui", "--epochs", "2", cwd=place)
    found = splits(place / "run")
    assert len(found) == 4
    assert len(set(found)) == 1
    assert [record_of(place / "run", index)["exact"] for index in (1, 2)] == [True, True]
    other = ("--dataset", f"data.py:{function}", "--models", "1", "--epochs", "1", "--seed", "8", "--output", "other")
    forge("--no-ui", *SMALL, *other, cwd=place)
    assert splits(place / "other")[0] != found[0]


def test_groups_and_other_model_types_have_it_too(place: Path) -> None:
    """Whatever code is imported before the dataset's: here a model's module, which draws numbers too."""
    (place / "net.py").write_text(
        "import torch\nfrom torch import nn\n\nDRAWN = torch.randn(7)\n\n"
        "def model(inputs):\n    return nn.Linear(inputs.features, inputs.outputs)\n",
        encoding="utf-8",
    )
    run = ("--dataset", "data.py:with_random", "--models", "2", "--epochs", "1", "--output", "run")
    sweep = ("--sweep", "model_type=planner,net.py:model", "--mode", "parallel", "--workers", "1")
    forge("--no-ui", *SMALL, "--fuse", "2", *run, *sweep, cwd=place)
    found = splits(place / "run")
    assert len(found) == 2
    assert len(set(found)) == 1


def test_what_cannot_be_seeded_fails_in_words(place: Path) -> None:
    run = ("--dataset", "data.py:never_the_same", "--models", "1", "--epochs", "1", "--output", "run")
    done = forge("--no-ui", "--json", *SMALL, *run, cwd=place, status=1)
    (failed,) = [line for line in events(done.stdout) if line["event"] == "model_failed"]
    assert (failed["kind"], failed["will_retry"]) == ("changed", False)
    named = f"--dataset {place / 'data.py'}:never_the_same gives other data each time it is called"
    assert failed["message"].startswith(f"{named} (same content, another split)")
    assert "numpy.random.default_rng(seed) (a parameter `seed` gets the run's)" in failed["message"]


def test_the_users_own_hash_seed_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of a set is then the same for every seed of a run; what is drawn is not."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    held, drawn = set(), set()
    for seed in ("5", "6"):
        run = ("--dataset", "data.py:with_sets", "--models", "1", "--epochs", "1", "--seed", seed, "--output", seed)
        forge("--no-ui", *SMALL, *run, cwd=place)
        first, second = splits(place / seed)[0].split("] [")
        held.add(first)
        drawn.add(second)
    assert (len(held), len(drawn)) == (1, 2)
