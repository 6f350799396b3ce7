"""Custom code is tried before any model is queued: what would fail later fails there, in words."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from forge_tui.errors import SettingsError
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig
from forge_tui.training import random_state
from forge_tui.training.data import load_dataset
from forge_tui.training.own_code import load_own_code
from forge_tui.worker.rehearsal import rehearse

CPU = torch.device("cpu")
CODE = """
import dataclasses

import torch
from torch import nn
from torch.nn import functional

class Parts(nn.Module):
    def __init__(self, inputs, give):
        super().__init__()
        self.body, self.give = nn.Linear(inputs.features, inputs.outputs), give

    def forward(self, x):
        return self.give(self.body(x))


@dataclasses.dataclass
class Out:
    logits: torch.Tensor
    penalty: torch.Tensor


def plain(inputs): return Parts(inputs, lambda out: out)
def pair(inputs): return Parts(inputs, lambda out: (out, out.sum(dim=1)))
def table(inputs): return Parts(inputs, lambda out: {"logits": out})
def record(inputs): return Parts(inputs, lambda out: Out(out, out.square().mean()))
def flat(inputs): return Parts(inputs, lambda out: out[:, 0])
def norm(inputs): return nn.Sequential(nn.Linear(inputs.features, inputs.outputs), nn.BatchNorm1d(inputs.outputs))


class Short(nn.Linear):
    def forward(self, x):
        if self.training and len(x) == 1:
            raise ValueError("one is too few")
        return super().forward(x)


def short(inputs): return Short(inputs.features, inputs.outputs)


class Complex(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs.features, inputs.outputs, dtype=torch.complex64))

    def forward(self, x):
        return (x.to(torch.complex64) @ self.weight).abs()


def complex(inputs): return Complex(inputs)


class Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x.clone()
    @staticmethod
    def backward(ctx, gradient): raise ArithmeticError("no way back")


def cut(inputs): return Parts(inputs, Cut.apply)


def logits(outputs):
    return outputs if isinstance(outputs, torch.Tensor) else (
        outputs.logits if isinstance(outputs, Out) else outputs["logits"] if isinstance(outputs, dict) else outputs[0]
    )


def loss(outputs, targets): return functional.cross_entropy(logits(outputs), targets)
def metric(outputs, targets): return (logits(outputs).argmax(dim=1) == targets).float().mean()
def no_loss(outputs, targets): raise KeyError("nothing like it")
def no_metric(outputs, targets): return outputs.nothing
def draws(outputs, targets): return torch.rand(()) + functional.cross_entropy(outputs, targets)


def all_rows(outputs, targets):
    if len(targets) < 5_000:
        raise ValueError("too few for it")
    return 1.0
"""


def tried(place: Path, samples: int = 90, **settings: Any) -> None:
    """Rehearse with names of functions in `CODE`."""
    path = place / "parts.py"
    path.write_text(textwrap.dedent(CODE), encoding="utf-8")
    data = {name: settings.pop(name) for name in ("drop_last", "validation_fraction") if name in settings}
    for name in ("model_type", "loss", "metric"):
        if name in settings:
            settings[name] = f"{path}:{settings[name]}"
    chosen = Settings(
        training=TrainingConfig(**{"batch_size": 16, "model_size": 1_000, **settings}),
        data=DataSettings(samples=samples, features=4, classes=3, **data),
        run=RunSettings(python_path=(str(place),)),
    )
    own, dataset = load_own_code(chosen), load_dataset(chosen, place)
    random_state.seed_everything(7)
    before = random_state.capture(CPU)
    try:
        rehearse(chosen.training, dataset, 0, CPU, own)
    finally:
        after = random_state.capture(CPU)
        same = [torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in before]
        assert all(same), "the random generators are not as they were"


@pytest.mark.parametrize("model", ["plain", "pair", "table", "record"])
def test_a_model_with_any_outputs_is_tried_with_its_loss_and_metric(tmp_path: Path, model: str) -> None:
    tried(tmp_path, model_type=model, loss="loss", metric="metric", accumulate=3, weights_average=0.9)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model_type": "norm"}, r"the forward pass of --model-type \S+:norm fails for a batch of 1 sample, the last "
         r"of each epoch \(81 training samples in batches of 16\): ValueError: Expected more than 1 value .*; "
         r"--drop-last leaves that batch out"),
        ({"model_type": "short"}, r"ValueError: one is too few \(\S+parts.py, line \d+\); --drop-last leaves that"),
        ({"model_type": "pair"}, r":pair gives a tuple: \(float32 \(16, 3\), float32 \(16,\)\); the built-in loss "
         r"\(cross entropy\) takes one tensor: give a custom loss \(--loss"),
        ({"model_type": "flat"}, r":flat gives float32 \(16,\) for a batch of 16 samples; cross entropy needs "
         r"\(16, 3\)"),
        ({"model_type": "complex"}, r"the optimizer of --model-type \S+:complex fails .*ComplexFloat.*view_as_complex"),
        ({"model_type": "cut"}, r"the backward pass of --model-type \S+:cut fails .*ArithmeticError: no way back"),
        ({"loss": "no_loss"}, r"--loss \S+:no_loss fails for a batch of 16 samples: KeyError: 'nothing like it' "
         r"\(\S+parts.py, line \d+\); it gets outputs float32 \(16, 3\) and targets int64 \(16,\)"),
        ({"metric": "no_metric"}, r"--metric \S+:no_metric fails for 9 validation samples: AttributeError: "
         r".*it gets outputs float32 \(9, 3\) and targets int64 \(9,\)"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_fails_is_told_with_its_place_and_what_to_do(tmp_path: Path, given: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        tried(tmp_path, **given)


@pytest.mark.parametrize("model", ["norm", "short"])
def test_a_short_batch_that_is_left_out_is_not_tried(tmp_path: Path, model: str) -> None:
    tried(tmp_path, model_type=model, drop_last=True)
    tried(tmp_path, samples=89, model_type=model)  # 80 for training: none is short


def test_a_metric_that_needs_more_than_a_batch_gets_all(tmp_path: Path) -> None:
    tried(tmp_path, samples=10_001, validation_fraction=0.5, metric="all_rows")
    with pytest.raises(SettingsError, match=r"fails for 4,000 validation samples: ValueError: too few for it"):
        tried(tmp_path, samples=8_000, validation_fraction=0.5, metric="all_rows")


def test_the_random_generators_are_left_as_they_were(tmp_path: Path) -> None:
    tried(tmp_path, loss="draws")  # which looks at that


def test_nothing_is_tried_where_only_built_in_code_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("forge_tui.worker.rehearsal._Rehearsal", never)
    tried(tmp_path)
    with pytest.raises(AssertionError):
        tried(tmp_path, loss="loss")
