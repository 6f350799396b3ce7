"""The test split: drawn first, never used in training, and measured once with the weights that are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_jobs import JobMaker

from forge_tui.errors import DataError, SettingsError
from forge_tui.protocol.events import EpochFinished, ModelCompleted, ResourceWarned
from forge_tui.protocol.job import Control
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig
from forge_tui.training import losses
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.load import load_dataset
from forge_tui.training.export import load_model
from forge_tui.training.metrics.measures import measure
from forge_tui.training.trainer import Trainer


def _load(dataset: str, where: Path = Path(), seed: int = 0, own: Any = None, **data: Any) -> Dataset:
    training = TrainingConfig(dataset=dataset)
    return load_dataset(Settings(training=training, data=DataSettings(**data), run=RunSettings(seed=seed)), where, own)


def _table(where: Path, rows: int = 200) -> Path:
    """Numbered rows (x is the row's number), three classes, ten groups, and a column that tells validation rows."""
    lines = [f"{n + 0.5},{n % 10},{['cat', 'dog', 'eel'][n % 3]},{'yes' if n % 5 == 0 else 'no'}" for n in range(rows)]
    path = where / "rows.csv"
    path.write_text("x,group,target,held\n" + "\n".join(lines) + "\n")
    return path


def _rows(found: Dataset) -> tuple[list[int], list[int], list[int]]:
    """The rows of the table in each split, by their x."""
    parts = (found.train_inputs, found.validation_inputs, found.test_inputs)
    return tuple([] if part is None else [int(x) for x in part[:, 0].tolist()] for part in parts)  # type: ignore[union-attr, return-value]


WAYS = [
    {},
    {"split": "random"},
    {"split": "ordered"},
    {"group": "group"},
    {"validation": "held"},
]


@pytest.mark.parametrize("how", WAYS, ids=["stratified", "random", "ordered", "group", "column"])
def test_every_row_is_in_one_split(tmp_path: Path, how: dict[str, Any]) -> None:
    found = _load(str(_table(tmp_path)), validation_fraction=0.2, test_fraction=0.3, normalise=False, **how)
    train, validation, test = _rows(found)
    assert sorted(train + validation + test) == list(range(200))
    assert (len(validation), len(test)) == (40, 60)
    assert found.split["test_samples"] == found.test_samples == 60
    assert found.split["train_samples"] == found.train_samples == 100
    assert found.validation_rows is not None
    assert found.test_rows is not None
    assert [row - 1 for row in found.validation_rows.tolist()] == validation
    assert [row - 1 for row in found.test_rows.tolist()] == test
    assert _rows(_load(str(tmp_path / "rows.csv"), validation_fraction=0.2, normalise=False, **how))[2] == []


def test_splits_are_drawn_by_their_rules(tmp_path: Path) -> None:
    path = str(_table(tmp_path))
    stratified = _load(path, validation_fraction=0.1, test_fraction=0.2)
    assert stratified.test_targets is not None
    assert torch.bincount(stratified.test_targets).tolist() == [14, 13, 13]
    ordered = _rows(_load(path, split="ordered", validation_fraction=0.1, test_fraction=0.2, normalise=False))
    assert (ordered[1], ordered[2]) == (list(range(140, 160)), list(range(160, 200)))
    grouped = _rows(_load(path, group="group", validation_fraction=0.2, test_fraction=0.3, normalise=False))
    groups = [{row % 10 for row in part} for part in grouped]
    assert [len(part) for part in groups] == [5, 2, 3]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    given = _rows(_load(path, validation="held", test_fraction=0.25, normalise=False))
    assert given[1] == list(range(0, 200, 5))


def test_without_one_splits_and_fingerprints_are_as_they_were(tmp_path: Path) -> None:
    for dataset in (str(_table(tmp_path)), "synthetic", "modular"):
        found, with_zero = _load(dataset), _load(dataset, test_fraction=0.0)
        assert found.split == with_zero.split
        assert "test_samples" not in found.split
        assert found.fingerprint is not None
        assert with_zero.fingerprint is not None
        assert found.fingerprint.is_of_same_data(with_zero.fingerprint)
        assert found.test_inputs is None


def test_the_encoder_learns_nothing_from_test_rows(tmp_path: Path) -> None:
    path = tmp_path / "kinds.csv"
    rows = [f"{'new' if n >= 80 else 'old'},{1000 if n >= 80 else n},{n % 2 == 0}" for n in range(100)]
    path.write_text("kind,size,target\n" + "\n".join(rows) + "\n")
    found = _load(str(path), split="ordered", validation_fraction=0.1, test_fraction=0.2)
    assert found.encoder is not None
    assert "new" not in json.dumps(found.encoder.to_record())
    assert found.normalisation is not None
    assert float(found.normalisation.feature_mean.max()) < 80


@pytest.mark.parametrize(
    ("dataset", "data"),
    [
        ("synthetic", {"samples": 200}),
        ("modular", {"prime": 11, "train_fraction": 0.5}),
        ("text.txt", {}),
        ("arrays.npz", {}),
        ("table.npy", {}),
        ("given.npz", {}),
    ],
)
def test_every_kind_of_data_has_one(tmp_path: Path, dataset: str, data: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(120, 3)).astype("float32"), np.arange(120) % 3
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    np.savez(tmp_path / "arrays.npz", features=x, targets=y)
    np.savez(tmp_path / "given.npz", x_train=x[:100], y_train=y[:100], x_test=x[100:], y_test=y[100:])
    np.save(tmp_path / "table.npy", np.c_[x, y])
    without, found = _load(dataset, tmp_path, **data), _load(dataset, tmp_path, test_fraction=0.2, **data)
    total = without.train_samples + without.validation_samples
    assert found.train_samples + found.validation_samples + found.test_samples == total
    assert found.test_samples == pytest.approx(0.2 * total, abs=1)
    assert found.test_inputs is not None
    assert found.test_targets is not None
    assert len(found.test_targets) == found.test_samples
    assert found.fingerprint is not None
    assert without.fingerprint is not None
    assert found.fingerprint.rows == total
    assert found.fingerprint.sha256 == without.fingerprint.sha256
    assert found.fingerprint.split_sha256 != without.fingerprint.split_sha256


@pytest.mark.parametrize("given", [False, True])
def test_samples_of_a_dataset_function_have_one(given: bool) -> None:
    x, y = torch.arange(40.0).reshape(-1, 1), torch.arange(40) % 2
    parts = (x[:30], y[:30], x[30:], y[30:]) if given else (x, y)
    found = _load("a.py:f", own=lambda: parts, test_fraction=0.25, normalise=False)
    assert sorted(row for part in _rows(found) for row in part) == list(range(40))
    assert found.test_samples == 10
    assert found.test_rows is not None
    assert [row - 1 for row in found.test_rows.tolist()] == _rows(found)[2]


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, SettingsError, "leave nothing to train on"),
        ({"validation": "held", "test_fraction": 0.85}, SettingsError, "leaves none of the 160 rows"),
        ({"group": "pair", "test_fraction": 0.3}, DataError, "fewer than 3 different values"),
    ],
)
def test_what_leaves_nothing_to_train_on_is_refused(
    tmp_path: Path, data: dict[str, Any], error: type[Exception], words: str
) -> None:
    path = _table(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{lines[0]},pair", *(f"{line},{n % 2}" for n, line in enumerate(lines[1:]))]) + "\n")
    with pytest.raises(error, match=words):
        _load(str(path), **data)
    with pytest.raises(SettingsError, match="more than all pairs"):
        _load("modular", train_fraction=0.6, test_fraction=0.5)


# --- trained


def _test_of(directory: Path, name: str = "cognate_planner_1") -> dict[str, float | None]:
    metrics = json.loads((directory / f"{name}.json").read_text())["metrics"]
    return {name.removeprefix("test/"): value for name, value in metrics.items() if name.startswith("test/")}


@pytest.mark.parametrize("training", [{}, {"patience": 1, "learning_rate": 0.5}, {"weights_average": 0.9}])
def test_it_is_measured_once_with_the_weights_that_are_written(
    make_job: JobMaker, train: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, training: dict[str, Any]
) -> None:
    job = make_job(training=training, data={"test_fraction": 0.2})
    dataset = load_dataset(
        Settings(data=DataSettings(samples=110, features=12, classes=4, test_fraction=0.2)), tmp_path
    )
    assert dataset.test_inputs is not None
    assert dataset.test_targets is not None
    seen = list[int]()
    forward = losses.Measures.add

    def spy(self: Any, outputs: Any, targets: torch.Tensor) -> None:
        is_of_a_model = outputs.stride(1) > 0  # the baseline's are one row for all samples
        if is_of_a_model and len(targets) == 22 and torch.equal(targets, dataset.test_targets):
            seen.append(len(targets))
        forward(self, outputs, targets)

    monkeypatch.setattr(losses.Measures, "add", spy)
    _, events = train(job)
    assert seen == [22]
    (done,) = (event for event in events if isinstance(event, ModelCompleted))
    assert not any(
        name.startswith("test/") for event in events if isinstance(event, EpochFinished) for name in event.metrics
    )
    found = _test_of(tmp_path / "run")
    assert found == {name.removeprefix("test/"): v for name, v in done.metrics.items() if name.startswith("test/")}
    with torch.no_grad():
        outputs = load_model(tmp_path / "run" / "cognate_planner_1")(dataset.test_inputs)
    expected = measure(dataset.task, outputs, dataset.test_targets)
    assert found == pytest.approx({"loss": expected["log_loss"], **expected}, rel=1e-5)
    assert {f"test/{name}" for name in expected} <= done.baseline.keys()


def test_a_group_is_measured_like_each_of_its_models_and_trains_as_without_a_test(
    make_job: JobMaker, tmp_path: Path
) -> None:
    def jobs(directory: str, **data: Any) -> list[Any]:
        return [
            make_job(directory, data=data, model=f"cognate_planner_{n}", index=n, seed=n, training={"epochs": 2})
            for n in (1, 2)
        ]

    Trainer(jobs("group", test_fraction=0.2), lambda event: None, Control()).run()
    for job in jobs("alone", test_fraction=0.2):
        Trainer([job], lambda event: None, Control()).run()
    for name in ("cognate_planner_1", "cognate_planner_2"):
        assert _test_of(tmp_path / "group", name) == pytest.approx(_test_of(tmp_path / "alone", name), rel=1e-3)
        ours, theirs = (json.loads((tmp_path / where / f"{name}.json").read_text()) for where in ("group", "alone"))
        for epoch, other in zip(ours["history"], theirs["history"], strict=True):
            assert epoch["metrics"] == pytest.approx(other["metrics"], rel=1e-3)
        assert ours["baseline"] == theirs["baseline"]


def test_test_rows_are_seen_by_nothing_but_the_measurement_at_the_end(
    make_job: JobMaker, train: Any, tmp_path: Path
) -> None:
    """With other values in the rows of the test split everything but its metrics is the same, to the byte."""
    rows = np.random.default_rng(0).normal(size=(120, 4)).astype("float32")
    targets = (rows[:, :3] @ np.array([1.0, -2.0, 0.5], dtype="float32")).astype("float32")
    weights, records = [], []
    for number, directory in enumerate(("first", "second")):
        changed = rows.copy()
        changed[96:] += 100.0 * number  # the last fifth
        np.savez(tmp_path / "data.npz", features=changed, targets=targets + (np.arange(120) >= 96) * number)
        job = make_job(directory, training={"dataset": "data.npz"}, data={"split": "ordered", "test_fraction": 0.2})
        train(job)
        weights.append((tmp_path / directory / "cognate_planner_1.safetensors").read_bytes())
        records.append(json.loads((tmp_path / directory / "cognate_planner_1.json").read_text()))
    assert weights[0] == weights[1]
    for one, other in zip(*(record["history"] for record in records), strict=True):
        assert one["metrics"] == other["metrics"]
    assert records[0]["details"] == records[1]["details"]
    assert records[0]["metrics"]["test/mae"] != records[1]["metrics"]["test/mae"]


def test_a_resumed_run_keeps_the_split_and_its_result(
    make_job: JobMaker, train: Any, stop_after: Any, tmp_path: Path
) -> None:
    data = {"test_fraction": 0.2}
    train(make_job("once", data=data))
    Trainer([make_job("twice", data=data)], lambda event: None, stop_after(7)).run()
    train(make_job("twice", data=data, attempt=2))
    once, twice = (json.loads((tmp_path / name / "cognate_planner_1.json").read_text()) for name in ("once", "twice"))
    for name in ("split", "data", "metrics", "baseline", "details", "sha256"):
        assert once[name] == twice[name]


def test_custom_code_that_fails_in_the_last_measurement_loses_no_model(
    make_job: JobMaker, train: Any, tmp_path: Path
) -> None:
    code = tmp_path / "scores.py"
    code.write_text(
        "def metric(outputs, targets):\n"
        "    if len(targets) == 22:\n"
        "        raise ValueError('no scores for the test')\n"
        "    return (outputs.argmax(1) == targets).float().mean()\n"
    )
    _, events = train(make_job("own", training={"metric": f"{code}:metric"}, data={"test_fraction": 0.2}))
    (said,) = (event.message for event in events if isinstance(event, ResourceWarned))
    assert said.startswith("cognate_planner_1 is trained, but could not be measured at its end: ")
    assert "no scores for the test" in said
    assert "scores.py, line 3" in said
    assert any(isinstance(event, ModelCompleted) for event in events)
    assert _test_of(tmp_path / "own") == {}
    train(make_job("without", data={"test_fraction": 0.2}))
    own, without = (tmp_path / name / "cognate_planner_1.safetensors" for name in ("own", "without"))
    assert own.read_bytes() == without.read_bytes()
