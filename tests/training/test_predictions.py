"""`predict` and `predict_proba` of loaded models: tables of any library, arrays, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import torch
from flowers import flowers, trained_on
from made_jobs import job_in
from older_runs import unpack
from trained import run

from forge_tui import load_ensemble, load_model
from forge_tui.errors import DataError, RunDirectoryError, UsageError
from forge_tui.training.ensemble import load_members
from forge_tui.training.prediction import inputs as model_inputs
from forge_tui.training.prediction.trained_model import TrainedModel

FEATURES = ("length", "colour", "wild")
CLASSES = ("aster", "iris", "rose")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("flowers")
    table = flowers()
    table.drop("weight").write_csv(where / "kinds.csv")
    table.drop("kind").write_csv(where / "weights.csv")
    return where


@pytest.fixture(scope="module")
def kinds_stem(place: Path) -> Path:
    return trained_on(place, "kinds.csv", "kind")


@pytest.fixture(scope="module")
def kinds(kinds_stem: Path) -> TrainedModel:
    """A model of classes."""
    return load_model(kinds_stem)


@pytest.fixture(scope="module")
def weights(place: Path) -> TrainedModel:
    """A model of numbers around 1,250."""
    return load_model(trained_on(place, "weights.csv", "weight"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """A model of made numbers, without a table."""
    job = job_in(tmp_path_factory.mktemp("plain"), training={"epochs": 2})
    run([job])
    return load_model(Path(job.directory) / job.model)


def of_polars(table: polars.DataFrame) -> Any:
    return table


def lazily(table: polars.DataFrame) -> Any:
    return table.lazy()


def of_pandas(table: polars.DataFrame) -> Any:
    return pytest.importorskip("pandas").DataFrame(table.to_dict(as_series=False))


def of_pyarrow(table: polars.DataFrame) -> Any:
    return pytest.importorskip("pyarrow").table(table.to_dict(as_series=False))


def of_lists(table: polars.DataFrame) -> Any:
    return table.to_dict(as_series=False)


def of_arrays(table: polars.DataFrame) -> Any:
    return {name: np.array(values, dtype=object) for name, values in table.to_dict(as_series=False).items()}


def of_columns(table: polars.DataFrame) -> Any:
    return table.to_dict()


def as_objects(table: polars.DataFrame) -> Any:
    """An array in the order of the features."""
    return np.array(table.select(FEATURES).rows(), dtype=object)


def as_rows(table: polars.DataFrame) -> Any:
    return [list(row) for row in table.select(FEATURES).rows()]


def reordered(table: polars.DataFrame) -> Any:
    """With a column more, and spaces around a name."""
    return table.with_columns(polars.lit("x").alias("note")).select("note", *FEATURES[::-1]).rename({"wild": " wild "})


FORMS: list[Callable[[polars.DataFrame], Any]] = [
    of_polars, lazily, of_pandas, of_pyarrow, of_lists, of_arrays, of_columns, as_objects, as_rows, reordered,
]  # fmt: skip


def by_hand(model: TrainedModel, table: polars.DataFrame) -> torch.Tensor:
    (inputs,) = model.description.inputs.pieces(table)
    with torch.no_grad():
        return model(inputs)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_equal_tables_give_equal_predictions(
    kinds: TrainedModel, weights: TrainedModel, form: Callable[[polars.DataFrame], Any]
) -> None:
    table = flowers(40, seed=9)
    expected = by_hand(kinds, table)
    assert kinds.predict(form(table)).tolist() == [CLASSES[number] for number in expected.argmax(dim=1)]
    np.testing.assert_allclose(kinds.predict_proba(form(table)), expected.softmax(dim=1), atol=1e-6)
    np.testing.assert_allclose(weights.predict(form(table)), by_hand(weights, table)[:, 0], rtol=1e-6)


def test_what_was_learned_is_predicted(kinds: TrainedModel, weights: TrainedModel) -> None:
    table = flowers(200, seed=21).drop_nulls()
    assert np.mean(kinds.predict(table) == table["kind"].to_numpy()) > 0.85
    found = weights.predict(table)
    assert found.shape == (len(table),)
    assert np.abs(found - table["weight"].to_numpy()).mean() < 60  # of 1000 to 1500


def test_a_model_tells_its_features_and_classes(kinds: TrainedModel, weights: TrainedModel) -> None:
    assert (kinds.features, kinds.classes) == (FEATURES, CLASSES)
    assert (weights.features, weights.classes) == (FEATURES, None)


def test_the_likeliest_class_is_predicted_and_probabilities_add_up(kinds: TrainedModel) -> None:
    chances = kinds.predict_proba(flowers())
    assert (chances.shape, chances.dtype) == ((120, 3), np.float32)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-5)
    assert [CLASSES[number] for number in chances.argmax(axis=1)] == kinds.predict(flowers()).tolist()


def test_rows_in_pieces_are_the_same_and_errors_name_the_row_of_the_whole(
    kinds: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = flowers()
    whole = kinds.predict_proba(table)
    monkeypatch.setattr(model_inputs, "_ROWS", 7)
    for form in (of_polars, of_lists, as_objects):
        np.testing.assert_allclose(kinds.predict_proba(form(table)), whole, atol=1e-6)
    lengths = table["length"].cast(polars.String).to_list()
    lengths[100] = "long"
    with pytest.raises(DataError, match="column 'length' has 'long' in row 101, and it was a number in training"):
        kinds.predict(table.with_columns(polars.Series("length", lengths)))


def test_unseen_categories_and_missing_values_are_predicted(kinds: TrainedModel) -> None:
    found = kinds.predict_proba({"length": [1.0, None, 3.0], "colour": ["green", None, "red"], "wild": ["no"] * 3})
    assert np.isfinite(found).all()
    assert not np.allclose(found[0], found[2])


def test_no_rows_give_no_predictions(kinds: TrainedModel, weights: TrainedModel) -> None:
    none = flowers().clear()
    assert kinds.predict(none).shape == (0,)
    assert kinds.predict_proba(none).shape == (0, 3)
    assert weights.predict(none).shape == (0,)
    assert kinds.predict(none).dtype.kind == "U"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"length": [1.0], "kind": ["rose"]}, r"the table has no column 'colour', 'wild'; the model was trained with"),
        ({"length": [1.0], "colour": ["red", "red"], "wild": ["no"]}, "column 'colour' has 2 values, and column"),
        ({"length": 1.0, "colour": ["red"], "wild": ["no"]}, "column 'length' is a float; each column is a list"),
        ({"length": np.zeros((2, 2)), "colour": ["red"], "wild": ["no"]}, r"is an array of shape \(2, 2\); each col"),
        ({"length": [1.0], " length": [2.0], "colour": ["red"], "wild": ["no"]}, "has several columns 'length'"),
        ({"length": [1.0], "colour": ["red"], "wild": ["perhaps"]}, "'wild' has 'perhaps' in row 1, and it was true"),
        (np.zeros((4, 5)), r"the array has the shape \(4, 5\), and cognate_planner_1 takes \(N, 3\) \(the columns le"),
        (np.zeros(3), r"the array has the shape \(3,\), and cognate_planner_1 takes \(N, 3\)"),
        ([[1.0, "red", "no"], [1.0]], "the rows cannot be read as an array"),
        (7, "a int is no table; give a frame of polars, pandas or pyarrow, a dict of columns, or an array"),
        ("kinds.csv", "a str is no table"),
        (None, "a NoneType is no table"),
        ([], "a list is no table"),
    ],
)
def test_what_does_not_fit_is_told_in_words(kinds: TrainedModel, given: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        kinds.predict(given)


def test_a_regression_has_no_probabilities(weights: TrainedModel) -> None:
    with pytest.raises(UsageError, match="is a regression: it has numbers, and no classes"):
        weights.predict_proba(flowers())


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", ">f4", "i1", "u8", "?"])
def test_an_array_may_have_any_type_of_numbers(plain: TrainedModel, dtype: str) -> None:
    values = np.arange(60).reshape(5, 12).astype(dtype)
    with torch.no_grad():
        expected = plain(torch.from_numpy(values.astype(np.float32)))
    np.testing.assert_allclose(plain.predict_proba(values), expected.softmax(dim=1), atol=1e-6)
    assert plain.predict(values[::-1]).tolist() == expected.argmax(dim=1).tolist()[::-1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_a_tensor_is_an_array(plain: TrainedModel, kinds: TrainedModel, dtype: torch.dtype) -> None:
    values = torch.arange(60).view(5, 12)
    assert plain.predict(values.to(dtype)).tolist() == plain.predict(values.numpy()).tolist()
    codes = torch.ones(2, 3)
    assert kinds.predict(codes.to(dtype)).tolist() == kinds.predict(codes.numpy()).tolist()


def test_half_and_long_numbers_are_read_by_an_encoder(kinds: TrainedModel) -> None:
    values = np.array([[1.5, 0, 1], [2.5, 0, 0], [np.nan, 0, 1]])
    expected = kinds.predict_proba(values)
    for dtype in ("f2", "f4", "g", ">f8"):
        np.testing.assert_allclose(kinds.predict_proba(values.astype(dtype)), expected, atol=1e-6)


def test_a_model_of_arrays_takes_named_columns_too(plain: TrainedModel) -> None:
    values = np.random.default_rng(3).normal(size=(9, 12))
    assert plain.features == tuple(f"x{number}" for number in range(1, 13))
    columns = {f"x{number}": values[:, number - 1] for number in range(12, 0, -1)}
    np.testing.assert_allclose(plain.predict_proba(columns), plain.predict_proba(values), atol=1e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_without_a_table_each_number_is_finite(plain: TrainedModel, wrong: float) -> None:
    values = np.zeros((6, 12))
    values[4, 2] = wrong
    with pytest.raises(DataError, match=r"in row 5, column 'x3', and cognate_planner_1 needs finite numbers"):
        plain.predict(values)
    with pytest.raises(DataError, match=r"column 'x3' has .* in row 5, and the model needs a finite number"):
        plain.predict({f"x{number}": values[:, number - 1] for number in range(1, 13)})
    with pytest.raises(DataError, match="the array holds <U1; cognate_planner_1 takes numbers"):
        plain.predict(np.full((2, 12), "a"))


def test_samples_of_another_shape_are_arrays(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "def model(inputs):\n    return nn.Sequential(nn.Flatten(), nn.Linear(8, 2))\n\n"
        "def dataset():\n    x = torch.arange(80.0).view(10, 2, 4)\n"
        "    return x, torch.stack((x[:, 0, 0], x[:, 1, 3]), 1)\n",
        encoding="utf-8",
    )
    own = tmp_path / "own.py"
    job = job_in(tmp_path, training={"dataset": f"{own}:dataset", "model_type": f"{own}:model", "epochs": 1})
    run([job])
    model = load_model(Path(job.directory) / job.model, trust_code=True)
    values = np.random.default_rng(1).normal(size=(3, 2, 4))
    with torch.no_grad():
        expected = model(torch.from_numpy(values).float())
    np.testing.assert_allclose(model.predict(values), expected, rtol=1e-5)
    assert model.features == ()
    with pytest.raises(DataError, match=r"the array has the shape \(3, 8\), and cognate_planner_1 takes \(N, 2, 4\)"):
        model.predict(values.reshape(3, 8))
    with pytest.raises(DataError, match=r"takes samples of the shape \(2, 4\), not columns: give an array \(N, 2, 4\)"):
        model.predict({"x": [1.0]})


def test_more_than_one_tensor_is_no_prediction(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n"
        "class Two(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.part = nn.Linear(12, 4)\n\n"
        "    def forward(self, x):\n        return self.part(x), x\n\n"
        "def model(inputs):\n    return Two()\n\n"
        "def loss(outputs, targets):\n    return nn.functional.cross_entropy(outputs[0], targets)\n",
        encoding="utf-8",
    )
    own = tmp_path / "own.py"
    job = job_in(tmp_path, training={"model_type": f"{own}:model", "loss": f"{own}:loss", "epochs": 1})
    run([job])
    model = load_model(Path(job.directory) / job.model, trust_code=True)
    with pytest.raises(UsageError, match="gives a tuple: predictions are of models that give one tensor"):
        model.predict(np.zeros((2, 12)))


def test_a_model_of_tokens_refuses(tmp_path: Path) -> None:
    job = job_in(tmp_path, training={"dataset": "modular", "epochs": 1})
    run([job])
    model = load_model(Path(job.directory) / job.model)
    for ask in (model.predict, model.predict_proba):
        with pytest.raises(UsageError, match=r"cognate_planner_1 takes tokens, int64 \(N, T\), and no table"):
            ask(np.zeros((2, 3)))


def test_prediction_leaves_mode_and_gradients_as_they_were(kinds_stem: Path) -> None:
    model = load_model(kinds_stem)
    model.train()
    model.requires_grad_(True)
    expected = model.predict_proba(flowers(5))
    assert model.training
    assert torch.is_grad_enabled()
    model.eval()
    np.testing.assert_array_equal(model.predict_proba(flowers(5)), expected)


def test_the_description_is_no_part_of_the_weights(kinds: TrainedModel, tmp_path: Path) -> None:
    assert {name.partition(".")[0] for name in kinds.state_dict()} == {"body", "feature_mean", "feature_scale"}
    torch.save(kinds, tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    assert again.predict(flowers(9)).tolist() == kinds.predict(flowers(9)).tolist()


def test_an_ensemble_predicts_the_mean(kinds_stem: Path, place: Path) -> None:
    job = job_in(
        place, "kind", {"dataset": "kinds.csv", "epochs": 6}, {"target": "kind"}, model="other", index=2, seed=7
    )
    run([job])
    stems = [kinds_stem, kinds_stem.with_name("other")]
    both = load_members(stems)
    table = flowers(30, seed=2)
    mean = sum(load_model(stem).predict_proba(table) for stem in stems) / 2
    np.testing.assert_allclose(both.predict_proba(table), mean, atol=1e-5)
    assert (both.features, both.classes) == (FEATURES, CLASSES)
    assert both.predict(table).tolist() == [CLASSES[number] for number in mean.argmax(axis=1)]
    record = json.loads(stems[1].with_suffix(".json").read_bytes())
    record["table"]["columns"][0]["fill"] += 1
    stems[1].with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UsageError, match="other and cognate_planner_1 differ in how their table becomes numbers"):
        load_members(stems)


def test_a_damaged_table_in_the_record_is_told(kinds_stem: Path, tmp_path: Path) -> None:
    record = json.loads(kinds_stem.with_suffix(".json").read_bytes())
    (tmp_path / "m.safetensors").write_bytes(kinds_stem.with_suffix(".safetensors").read_bytes())
    for wrong in ({"version": 2}, {**record["table"], "columns": record["table"]["columns"][:1]}):
        (tmp_path / "m.json").write_text(json.dumps({**record, "name": "m", "table": wrong}), encoding="utf-8")
        with pytest.raises(RunDirectoryError, match=r"m\.json is damaged"):
            load_model(tmp_path / "m")


@pytest.mark.parametrize("name", ["completed", "architectures", "sweep"])
def test_models_of_0_1_0_predict(tmp_path: Path, name: str) -> None:
    old = unpack(name, tmp_path / "old")
    for stem in sorted(path.with_suffix("") for path in old.run.glob("cognate_*.safetensors")):
        model = load_model(stem)
        values = np.random.default_rng(2).normal(size=(6, len(model.features)))
        with torch.no_grad():
            expected = model(torch.from_numpy(values).float())
        columns = {feature: values[:, place] for place, feature in enumerate(model.features)}
        assert model.classes is not None
        assert model.predict(columns).tolist() == [model.classes[number] for number in expected.argmax(dim=1)]
        np.testing.assert_allclose(model.predict_proba(values), expected.softmax(dim=1), atol=1e-6)


def test_the_ensemble_of_an_old_run_predicts(tmp_path: Path) -> None:
    old = unpack("completed", tmp_path / "old")
    both = load_ensemble(old.run)
    values = np.random.default_rng(2).normal(size=(6, len(both.features)))
    with torch.no_grad():
        np.testing.assert_allclose(
            both.predict_proba(values), both(torch.from_numpy(values).float()).softmax(dim=1), atol=1e-6
        )
