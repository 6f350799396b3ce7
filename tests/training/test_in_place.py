"""Custom code that works in place on what it is given changes nothing that is stored: alone, in groups, on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from trained import record_of, run

from forge_tui.protocol.job import Job
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training import order
from forge_tui.training.data import npy_file
from forge_tui.training.data.load import load_dataset
from forge_tui.training.data.stored import StoredRows
from forge_tui.training.ensemble import measure_members
from forge_tui.training.group_state import GroupState
from forge_tui.training.own_code import load_own_code
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import SingleState, TrainingState
from forge_tui.worker.inspection import Probe

CPU = torch.device("cpu")
CODE = """
import torch
from torch import nn
from torch.nn import functional


def dataset():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(200, 8, generator=generator)
    return inputs, (inputs @ torch.randn(8, 3, generator=generator)).argmax(1)


class Copying(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.last = nn.Linear(inputs.features, inputs.outputs)

    def forward(self, x):
        return self.last((x - x.mean(-1, keepdim=True) * 0.5) * 0.8)


class InPlace(Copying):
    def forward(self, x):
        x -= x.mean(-1, keepdim=True) * 0.5
        x *= 0.8
        return self.last(x)


class Reusing(Copying):
    "Gives a buffer of its own that it writes over in the next batch."
    def forward(self, x):
        out = super().forward(x)
        if self.training:
            return out
        self.__dict__["kept"] = self.__dict__.get("kept", torch.zeros(4096, out.shape[-1]))
        return self.kept[: len(x)].copy_(out)


def copying(inputs): return Copying(inputs)
def in_place(inputs): return InPlace(inputs)
def reusing(inputs): return Reusing(inputs)
def relu_in_place(inputs): return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(inputs.features, inputs.outputs))
def relu(inputs): return nn.Sequential(nn.ReLU(), nn.Linear(inputs.features, inputs.outputs))


class Tokens(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.first, self.last = nn.Embedding(inputs.vocabulary, 4), nn.Linear(4, inputs.outputs)

    def forward(self, x):
        return self.last(self.first(x // 2))


class TokensInPlace(Tokens):
    def forward(self, x):
        x //= 2
        return self.last(self.first(x))


def tokens(inputs): return Tokens(inputs)
def tokens_in_place(inputs): return TokensInPlace(inputs)


def layers(inputs, sizes):
    made, size = [], inputs.features
    while sizes:
        made += [nn.Linear(size, sizes[0]), nn.ReLU()]
        size = sizes.pop(0)
    return nn.Sequential(*made, nn.Linear(size, inputs.outputs))


def loss(outputs, targets):
    return functional.cross_entropy(functional.pad(outputs, (1, 0), value=-30.0), targets + 1)


def loss_in_place(outputs, targets):
    targets += 1
    outputs = functional.pad(outputs, (1, 0), value=-30.0)
    return functional.cross_entropy(outputs, targets)


def loss_of_outputs_in_place(outputs, targets):
    if not torch.is_grad_enabled():
        copied = outputs.clone()
        outputs.zero_()
        outputs = copied
    return functional.cross_entropy(outputs, targets)


def metric(outputs, targets):
    targets = torch.where(targets == 2, 0, targets)
    return (outputs.argmax(1) == targets).double().mean()


def metric_in_place(outputs, targets):
    targets[targets == 2] = 0
    right = (outputs.argmax(1) == targets).double().mean()
    outputs.zero_()
    return right
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "in_place_code.py"
    path.write_text(CODE, encoding="utf-8")
    return path


@pytest.fixture
def histories(make_job: Any, code: Path) -> Callable[..., list[list[dict[str, Any]]]]:
    """What three models come to in four epochs, alone or as one group: their epochs without their seconds."""

    def train(grouped: bool, model: dict[str, Any] | None = None, **functions: str) -> list[list[dict[str, Any]]]:
        named = {name: f"{code}:{function}" for name, function in {"dataset": "dataset", **functions}.items()}
        where = "-".join([*functions.values(), "grouped" if grouped else "alone"])
        jobs = [make_job(where, named, model=f"cognate_m_{index}", index=index, seed=index - 1) for index in (1, 2, 3)]
        if model is not None:
            jobs = [dataclasses.replace(job, settings={**job.settings, "model": model}) for job in jobs]
        for group in [jobs] if grouped else [[job] for job in jobs]:
            run(group)
        return [[{**epoch, "seconds": 0.0} for epoch in record_of(job)["history"]] for job in jobs]

    return train


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize(
    ("changing", "copying"),
    [
        ({"model_type": "in_place"}, {"model_type": "copying"}),
        ({"model_type": "relu_in_place"}, {"model_type": "relu"}),
        ({"loss": "loss_in_place"}, {"loss": "loss"}),
        ({"metric": "metric_in_place"}, {"metric": "metric"}),
        (
            {"model_type": "in_place", "loss": "loss_in_place", "metric": "metric_in_place"},
            {"model_type": "copying", "loss": "loss", "metric": "metric"},
        ),
    ],
    ids=["model", "inplace=True", "loss", "metric", "all three"],
)
def test_in_place_code_gives_what_copying_code_gives(
    histories: Any, grouped: bool, changing: dict[str, str], copying: dict[str, str]
) -> None:
    assert histories(grouped, **changing) == histories(grouped, **copying)


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "group"])
def test_a_metric_in_place_changes_neither_loss_nor_accuracy(histories: Any, grouped: bool) -> None:
    without = histories(grouped)
    found = histories(grouped, metric="metric_in_place")
    for epochs, plain in zip(found, without, strict=True):
        for epoch, expected in zip(epochs, plain, strict=True):
            assert epoch["metrics"].pop("validation_metric") is not None
            assert epoch["metrics"] == expected["metrics"]


def test_a_loss_in_place_on_outputs_changes_neither_accuracy_nor_metric(histories: Any) -> None:
    """It can only while validating: in training autograd needs the outputs."""
    plain = {"model_type": "copying", "metric": "metric"}
    ours, theirs = histories(False, loss="loss_of_outputs_in_place", **plain), histories(False, **plain)
    for found, expected in zip(ours, theirs, strict=True):
        for epoch, other in zip(found, expected, strict=True):
            assert epoch["metrics"] == pytest.approx(other["metrics"], rel=1e-6)


def test_outputs_that_a_model_writes_over_are_kept_for_the_metric(
    histories: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_tui.training.losses._VALIDATION_ROWS", 7)  # more than one batch
    found, expected = (
        histories(False, model_type="reusing", metric="metric"),
        histories(False, model_type="copying", metric="metric"),
    )
    assert found == expected


def test_a_group_of_in_place_models_is_each_of_them_alone(histories: Any) -> None:
    functions = {"model_type": "in_place", "loss": "loss_in_place", "metric": "metric_in_place"}
    together, alone = histories(True, **functions), histories(False, **functions)
    for ours, theirs in zip(together, alone, strict=True):
        for epoch, other in zip(ours, theirs, strict=True):
            assert epoch["metrics"] == pytest.approx(other["metrics"], rel=1e-4)


def all_of(dataset: Any) -> list[Tensor]:
    names = ("train_inputs", "train_targets", "validation_inputs", "validation_targets", "class_weights")
    return [value for name in names if isinstance(value := getattr(dataset, name), Tensor)]


@pytest.mark.parametrize("gathered", [True, False], ids=["an epoch at once", "batch by batch"])
@pytest.mark.parametrize("seeds", [(3,), (3, 4, 5)], ids=["alone", "group"])
def test_no_stored_number_changes(
    code: Path, tmp_path: Path, seeds: tuple[int, ...], gathered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In training, in validation, in what the probe tries; data, targets and weights of classes."""
    if not gathered:
        monkeypatch.setattr(order, "_GATHER_BYTES", 0)
    training = TrainingConfig(
        dataset=f"{code}:dataset", model_type=f"{code}:in_place", metric=f"{code}:metric_in_place"
    )
    settings = Settings(training=training, data=DataSettings(class_weights="balanced", normalise=False))
    own = load_own_code(settings)
    dataset = load_dataset(settings, tmp_path, own.dataset)
    before = [tensor.clone() for tensor in all_of(dataset)]
    assert len(before) == 5
    state: TrainingState
    if len(seeds) == 1:
        state = SingleState(training, dataset, seeds[0], CPU, own)
    else:
        state = GroupState(training, dataset, seeds, CPU, own)
    data = PlacedData(dataset, state.network, training.batch_size, CPU)
    for inputs, targets in state.batches(data, seeds):
        state.loss(data, inputs, targets).backward()
        state.update()
    first = state.validate(data)
    assert state.validate(data) == first
    for tensor, earlier in zip(all_of(dataset), before, strict=True):
        assert torch.equal(tensor, earlier)


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "group"])
def test_next_tokens_are_not_those_that_a_model_changed_in_place(
    make_job: Any, code: Path, tmp_path: Path, grouped: bool
) -> None:
    """Inputs and targets of a text are parts of one tensor."""
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog; " * 60, encoding="utf-8")

    def train(function: str) -> list[list[float]]:
        training = {"dataset": "text.txt", "model_type": f"{code}:{function}", "batch_size": 4}
        where = f"{function}-{grouped}"
        jobs = [make_job(where, training, model=f"cognate_m_{n}", index=n, seed=n) for n in (1, 2)]
        for group in [jobs] if grouped else [[job] for job in jobs]:
            run(group)
        return [[epoch["validation_loss"] for epoch in record_of(job)["history"]] for job in jobs]

    assert train("tokens_in_place") == train("tokens")


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "group"])
def test_rows_that_stay_on_disk(
    make_job: Any, code: Path, tmp_path: Path, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npy_file, "_KEPT_BYTES", 0)
    random = np.random.default_rng(5)
    features = random.normal(size=(150, 8))
    np.save(tmp_path / "table.npy", np.column_stack([features, (features[:, 0] > 0) + (features[:, 1] > 0)]))
    written = (tmp_path / "table.npy").read_bytes()
    settings = Settings(training=TrainingConfig(dataset=str(tmp_path / "table.npy")))
    assert isinstance(load_dataset(settings, tmp_path).train_inputs, StoredRows)

    def train(function: str) -> list[list[float]]:
        training = {"dataset": "table.npy", "model_type": f"{code}:{function}"}
        where = f"{function}-{grouped}"
        jobs = [make_job(where, training, model=f"cognate_m_{n}", index=n, seed=n) for n in (1, 2)]
        for group in [jobs] if grouped else [[job] for job in jobs]:
            run(group)
        return [[epoch["validation_loss"] for epoch in record_of(job)["history"]] for job in jobs]

    assert train("in_place") == train("copying")
    assert (tmp_path / "table.npy").read_bytes() == written


def test_the_probe_tries_every_way_on_data_as_it_is(make_job: Any, code: Path) -> None:
    """A loss that changed the targets a second time would find a class that is not there."""
    names = ("dataset", "model_type", "loss", "metric")
    functions = ("dataset", "in_place", "loss_in_place", "metric_in_place")
    named = {name: f"{code}:{function}" for name, function in zip(names, functions, strict=True)}
    job: Job = make_job("run", named)
    probe = Probe(job)
    assert probe.inspect(together=3).grouping_problem is None
    measured = probe.measure([(1, 1, False), (3, 1, False)], 0.03, 1e12)
    assert [way.steps_per_second > 0 for way in measured.ways] == [True, True]
    assert probe.inspect(together=3).grouping_problem is None


def test_an_ensemble_measures_every_member_on_the_same_data(make_job: Any, code: Path, tmp_path: Path) -> None:
    named = {"dataset": f"{code}:dataset", "model_type": f"{code}:in_place", "metric": f"{code}:metric_in_place"}
    jobs = [make_job("run", named, model=f"cognate_m_{n}", index=n, seed=n) for n in (1, 2, 3)]
    for job in jobs:
        run([job])
    found = measure_members([Path(job.directory) / job.model for job in jobs], tmp_path, trust_code=True)
    recorded = [record_of(job)["validation"]["loss"] for job in jobs]
    assert [member["validation_loss"] for member in found.members] == pytest.approx(recorded, rel=1e-6)


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "group"])
def test_a_list_under_model_is_each_models_own(histories: Any, grouped: bool, make_job: Any) -> None:
    """The function takes its list apart: the next model of the group, and NAME.json, have the whole one."""
    model = {"sizes": [6, 5]}
    found = histories(grouped, model=model, model_type="layers")
    assert model == {"sizes": [6, 5]}
    where = f"layers-{'grouped' if grouped else 'alone'}"
    for index in (1, 2, 3):
        record = record_of(make_job(where, model=f"cognate_m_{index}"))
        assert record["settings"]["model"] == {"sizes": [6, 5]}
        assert record["parameters"] == 8 * 6 + 6 + 6 * 5 + 5 + 5 * 3 + 3
    assert len(found) == 3
