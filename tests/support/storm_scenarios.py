"""What runs are like in a storm of kills: each scenario has arguments, files, and undisturbed runs to compare with."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from make_runs import table
from running import SMALL, forge

from forge_tui.client.run import Run

STATEFUL_NET = '''\
"""A network with state of every kind that a checkpoint has to keep."""

import torch
from torch import nn


class Counting(nn.Module):
    """State that only get_extra_state gives."""

    def __init__(self, size):
        super().__init__()
        self.layer, self.steps = nn.Linear(size, size), 0

    def get_extra_state(self):
        return {"steps": self.steps}

    def set_extra_state(self, state):
        self.steps = state["steps"]

    def forward(self, x):
        if self.training:
            self.steps += 1
        return torch.tanh(self.layer(x)) * (1 + 0.01 * (self.steps % 50))


class Centred(nn.Module):
    """A running mean in a buffer that state_dict leaves out."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size), persistent=False)

    def forward(self, x):
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return x - self.mean


class Annealed(nn.Module):
    """A plain attribute that changes while it trains, and a frozen batch norm."""

    def __init__(self, size):
        super().__init__()
        self.norm, self.temperature = nn.BatchNorm1d(size), 2.0
        self.norm.requires_grad_(False).eval()

    def forward(self, x):
        if self.training:
            self.temperature = 1 + (self.temperature - 1) * 0.999
        return self.norm(x) / self.temperature


def model(inputs, hidden: int = 16):
    return nn.Sequential(
        nn.Linear(inputs.features, hidden), Centred(hidden), Counting(hidden), Annealed(hidden), nn.Dropout(0.1),
        nn.Linear(hidden, inputs.outputs),
    )
'''


def _map() -> bytes:
    """A table of numbers as NPY: six features and a class."""
    chosen = np.random.default_rng(3)
    features = chosen.normal(size=(320, 6))
    classes = (features[:, :1] + features[:, 1:2] > 0).astype(float)
    file = io.BytesIO()
    np.save(file, np.hstack([features, classes]))
    return file.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A kind of run. `{project}` in its arguments is where its files lie.

    `measured`: how many models train together is found out at the start, so the bytes to come to are those of an
    undisturbed run with the number that was found. `prunes`: models may end at a rung, as others reach it first; what
    they did is compared with a run without halving. `goes_back`: a model that diverges returns to a checkpoint.
    """

    name: str
    about: str
    arguments: tuple[str, ...]
    models: int = 8
    epochs: int = 150
    files: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    measured: bool = False
    prunes: tuple[int, ...] = ()
    goes_back: bool = False

    def smaller(self) -> Scenario:
        """The same with half as many models, and epochs for a few kills only."""
        return dataclasses.replace(self, models=max(1, self.models // 2), epochs=min(self.epochs, 50))

    def prepare(self, project: Path) -> tuple[str, ...]:
        """Write the files, and give the arguments of a start."""
        project.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (project / name).write_bytes(content())
        size = ("--models", str(self.models), "--epochs", str(self.epochs))
        return (*_ALWAYS, *size, *(argument.replace("{project}", str(project)) for argument in self.arguments))


_ALWAYS = (*SMALL, "--checkpoint-interval", "5", "--max-retries", "1000")
_TWO = ("--mode", "parallel", "--workers", "2")
_DATA = ("--set", "data.samples=320")
_HALVING = ("--halving", "2", "--halving-first", "10")
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="planners", about="two workers, a model each", arguments=(*_TWO, *_DATA)),
        Scenario(name="groups", about="two workers, two models each", arguments=(*_TWO, *_DATA, "--fuse", "2")),
        Scenario(
            name="sweep", about="two architectures with two learning rates, two seeds each", models=2,
            arguments=(*_TWO, *_DATA, "--sweep", "learning_rate=0.001,0.01", "--sweep", "model_type=planner,memory"),
        ),
        Scenario(
            name="halving", about="asynchronous successive halving", prunes=(10, 20, 40, 80),
            arguments=(*_TWO, *_DATA, *_HALVING),
        ),
        Scenario(
            name="patience", about="early stopping; the best epoch's weights are kept",
            arguments=(*_TWO, *_DATA, "--patience", "6", "--learning-rate", "0.003"),
        ),
        Scenario(
            name="divergence", about="a learning rate that makes each model diverge once", models=6, epochs=60,
            files={"data.csv": lambda: table(320).encode()}, goes_back=True,
            arguments=(*_TWO, "--dataset", "{project}/data.csv", "--optimizer", "sgd", "--momentum", "0.9",
                       "--learning-rate", "0.5", "--schedule", "one_cycle", "--on-divergence", "lower"),
        ),
        Scenario(
            name="stateful", about="a custom model with extra state, hidden buffers and attributes", models=6,
            files={"net.py": STATEFUL_NET.encode},
            arguments=(*_TWO, *_DATA, "--model-type", "{project}/net.py"),
        ),
        Scenario(
            name="schedules", about="warm-up and cosine, accumulation, clipping, averaged weights",
            arguments=(*_TWO, *_DATA, "--schedule", "cosine", "--warmup-steps", "40", "--accumulate", "3",
                       "--gradient-clip", "1", "--weights-average", "0.95", "--grokfast-enabled"),
        ),
        Scenario(
            name="npy", about="a table of numbers in a .npy file", files={"data.npy": _map},
            arguments=(*_TWO, "--dataset", "{project}/data.npy"),
        ),
        Scenario(
            name="fuse-auto", about="how many models train together is measured", measured=True,
            arguments=(*_TWO, *_DATA, "--fuse", "auto"),
        ),
    )
}  # fmt: skip


class Undisturbed:
    """Runs of a scenario that nobody disturbs; made when they are first needed where something is measured."""

    def __init__(self, base: Path, scenario: Scenario, arguments: tuple[str, ...]) -> None:
        self._base = base
        self._scenario = scenario
        self._arguments = arguments
        self._last: list[str] = []
        if not scenario.measured:
            self._made("undisturbed")

    def like(self, directory: Path) -> Path:
        """The one whose models have to come out as those of the run in `directory`."""
        if not self._scenario.measured:
            return self._made("undisturbed")
        with Run(directory) as run:
            together = run.snapshot().run.fuse
        return self._made(f"undisturbed-{together}", "--fuse", str(together))

    def last_checkpoints(self) -> list[str]:
        """Of each model the last checkpoint, relative to the run; empty until a run was made."""
        if not self._last:
            made = self._base.glob("undisturbed*/checkpoints/*/step-*.safetensors")
            self._last = ["/".join(path.parts[-3:]) for path in made]
        return self._last

    def _made(self, name: str, *more: str) -> Path:
        directory = self._base / name
        if not directory.exists():
            arguments = list(self._arguments)
            if self._scenario.prunes:
                del arguments[(first := arguments.index("--halving")) : first + len(_HALVING)]
            forge("--no-ui", *arguments, *more, "--output", directory)
        return directory
