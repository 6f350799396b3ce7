"""`forge-tui predict`: a run's model and a table give a row per row of it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars
import pytest
from flowers import flowers
from older_runs import install, unpack
from running import SMALL, begin, forge

from forge_tui import load_ensemble, load_model
from forge_tui.cli import main
from forge_tui.tables import text_pieces, typed_pieces
from forge_tui.training.prediction import inputs

CLASSES = ["aster", "iris", "rose"]
TRAIN = ("--no-ui", *SMALL, "--epochs", "8", "--learning-rate", "0.01", "--batch-size", "16")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of classes (two models) and of numbers (one), and tables of other rows to predict for."""
    where = tmp_path_factory.mktemp("predict")
    flowers().drop("weight").write_csv(where / "kinds.csv")
    flowers().drop("kind").write_csv(where / "weights.csv")
    forge(*TRAIN, "--dataset", "kinds.csv", "--target", "kind", "--models", "2", "--output", "kinds", cwd=where)
    forge(*TRAIN, "--dataset", "weights.csv", "--target", "weight", "--models", "1", "--output", "weights", cwd=where)
    flowers(40, seed=8).drop("kind", "weight").write_csv(where / "new.csv")
    return where


@pytest.fixture(autouse=True)
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def best(run: str) -> Path:
    return Path(forge("best", run).stdout.strip())


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_best_model_predicts_a_class_per_row(place: Path) -> None:
    done = forge("predict", "kinds", "new.csv")
    assert done.stdout.splitlines()[0] == "prediction"
    expected = load_model(best("kinds")).predict(polars.read_csv("new.csv")).tolist()
    assert [row["prediction"] for row in rows(done.stdout)] == expected
    assert done.stderr == ""


def test_columns_in_another_order_and_others_beside_them_change_nothing(place: Path, tmp_path: Path) -> None:
    table = polars.read_csv("new.csv").with_columns(polars.lit('a, "b"\nc').alias("note")).with_row_index()
    table.select("note", "wild", "length", "index", "colour").write_csv(tmp_path / "other.csv", separator=";")
    assert forge("predict", "kinds", tmp_path / "other.csv").stdout == forge("predict", "kinds", "new.csv").stdout


def test_a_text_may_be_written_in_another_way_than_the_training_data(tmp_path: Path) -> None:
    table = flowers(rows=80).drop("weight")
    table.write_csv(tmp_path / "train.csv", separator="|")
    forge(*TRAIN, "--dataset", "train.csv", "--target", "kind", "--separator", "|", "--header", "true", "--models", "1",
          "--output", "run", cwd=tmp_path)  # fmt: skip
    table.write_csv(tmp_path / "commas.csv")
    same = forge("predict", tmp_path / "run", tmp_path / "train.csv")
    assert len(rows(same.stdout)) == 80
    assert forge("predict", tmp_path / "run", tmp_path / "commas.csv").stdout == same.stdout


def test_missing_columns_are_named(place: Path, tmp_path: Path) -> None:
    polars.read_csv("new.csv").drop("wild", "length").write_csv(tmp_path / "few.csv")
    done = forge("predict", "kinds", tmp_path / "few.csv", status=2)
    assert done.stdout == ""
    assert (
        "few.csv has no column 'length', 'wild'; the model was trained with 'length', 'colour', 'wild'" in done.stderr
    )


def test_unseen_categories_and_missing_values_are_predicted_and_wrong_values_are_told(tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("length,colour,wild\n1,green,yes\n,NA,no\n3,,\n", encoding="utf-8")
    assert len(rows(forge("predict", "kinds", tmp_path / "odd.csv").stdout)) == 3
    (tmp_path / "wrong.csv").write_text("length,colour,wild\n1,red,yes\nlong,red,no\n", encoding="utf-8")
    done = forge("predict", "kinds", tmp_path / "wrong.csv", status=2)
    assert "column 'length' has 'long' in row 2, and it was a number in training" in done.stderr


def test_probabilities_have_a_column_per_class(place: Path) -> None:
    found = rows(forge("predict", "kinds", "new.csv", "--probabilities").stdout)
    assert list(found[0]) == ["prediction", *CLASSES]
    chances = np.array([[float(row[name]) for name in CLASSES] for row in found])
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-5)
    expected = load_model(best("kinds")).predict_proba(polars.read_csv("new.csv"))
    np.testing.assert_allclose(chances, expected, atol=1e-6)
    assert [CLASSES[place] for place in chances.argmax(axis=1)] == [row["prediction"] for row in found]


def test_a_regression_gives_units_of_the_data_and_no_probabilities(place: Path) -> None:
    found = [float(row["prediction"]) for row in rows(forge("predict", "weights", "new.csv").stdout)]
    assert 900 < min(found) < max(found) < 1600
    np.testing.assert_allclose(found, load_model(best("weights")).predict(polars.read_csv("new.csv")), rtol=1e-5)
    done = forge("predict", "weights", "new.csv", "--probabilities", status=2)
    assert "is a regression: it has numbers, and no classes with probabilities" in done.stderr


def test_a_model_by_name_or_number_and_the_ensemble(place: Path) -> None:
    table = polars.read_csv("new.csv")
    second = load_model(place / "kinds" / "cognate_planner_2").predict_proba(table)[:, 0]
    for name in ("cognate_planner_2", "2"):
        found = rows(forge("predict", "kinds", "new.csv", "--model", name, "--probabilities").stdout)
        np.testing.assert_allclose([float(row["aster"]) for row in found], second, atol=1e-6)
    mean = load_ensemble("kinds").predict_proba(table)
    found = rows(forge("predict", "kinds", "new.csv", "--ensemble", "--probabilities").stdout)
    np.testing.assert_allclose([[float(row[name]) for name in CLASSES] for row in found], mean, atol=1e-6)
    assert (
        "run kinds has no model '7'; it has cognate_planner_1"
        in forge("predict", "kinds", "new.csv", "--model", "7", status=2).stderr
    )
    assert "not allowed with" in forge("predict", "kinds", "new.csv", "--model", "1", "--ensemble", status=2).stderr


def test_with_the_target_there_the_score_goes_to_stderr(place: Path, tmp_path: Path) -> None:
    truth = flowers(90, seed=4)
    truth.write_csv(tmp_path / "known.csv")
    done = forge("predict", "kinds", tmp_path / "known.csv")
    predicted = [row["prediction"] for row in rows(done.stdout)]
    right = np.mean(np.array(predicted) == truth["kind"].to_numpy())
    assert done.stderr == f"accuracy {right:.4f} over 90 rows with 'kind'\n"
    done = forge("predict", "weights", tmp_path / "known.csv")
    errors = np.array([float(row["prediction"]) for row in rows(done.stdout)]) - truth["weight"].to_numpy()
    absolute, squared = (float(word.rstrip(",")) for word in np.array(done.stderr.split())[[3, 8]])
    assert done.stderr.endswith("over 90 rows with 'weight'\n")
    assert absolute == pytest.approx(np.abs(errors).mean(), rel=1e-4)
    assert squared == pytest.approx(np.sqrt(np.square(errors).mean()), rel=1e-4)


def test_rows_without_a_target_do_not_count_and_unknown_classes_are_wrong(place: Path, tmp_path: Path) -> None:
    table = polars.read_csv("new.csv").head(4)
    predicted = load_model(best("kinds")).predict(table).tolist()
    table.with_columns(polars.Series("kind", [predicted[0], "", "thistle", "NA"])).write_csv(tmp_path / "some.csv")
    assert forge("predict", "kinds", tmp_path / "some.csv").stderr == "accuracy 0.5000 over 2 rows with 'kind'\n"


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".ndjson", ".csv", ".CSV"])
def test_the_output_is_as_its_name_says(place: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out{ending}"
    out.write_text("before", encoding="utf-8")
    done = forge("predict", "kinds", "new.csv", "--probabilities", "--output", out)
    assert (done.stdout, done.stderr) == ("", "")
    read = {".parquet": polars.read_parquet, ".csv": polars.read_csv}.get(ending.lower(), polars.read_ndjson)
    table = read(out)
    assert table.columns == ["prediction", *CLASSES]
    expected = load_model(best("kinds"))
    assert table["prediction"].to_list() == expected.predict(polars.read_csv("new.csv")).tolist()
    np.testing.assert_allclose(
        table.select(CLASSES).to_numpy(), expected.predict_proba(polars.read_csv("new.csv")), atol=1e-6
    )
    assert os.listdir(tmp_path) == [out.name]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o666 & ~umask


def write_parts(table: polars.DataFrame, path: Path) -> None:
    path.mkdir()
    for number, part in enumerate(table.iter_slices(15)):
        part.write_parquet(path / f"{number}.parquet", row_group_size=4)


def write_gzip(table: polars.DataFrame, path: Path) -> None:
    path.write_bytes(gzip.compress(table.write_csv().encode()))


FORMS: dict[str, Callable[[polars.DataFrame, Path], object]] = {
    "t.parquet": lambda table, path: table.write_parquet(path, row_group_size=7),
    "t.arrow": lambda table, path: table.write_ipc(path),
    "t.feather": lambda table, path: table.write_ipc_stream(path),
    "t.jsonl": lambda table, path: table.write_ndjson(path),
    "t.tsv": lambda table, path: table.write_csv(path, separator="\t"),
    "t.csv.gz": write_gzip,
    "parts": write_parts,
}


@pytest.mark.parametrize("name", FORMS)
def test_any_table_is_read_and_in_pieces_it_is_the_same(
    place: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = flowers(40, seed=8)
    FORMS[name](table, tmp_path / name)
    expected = forge("predict", "kinds", "new.csv").stdout
    whole = forge("predict", "kinds", tmp_path / name)
    assert whole.stdout == expected
    monkeypatch.setattr(text_pieces, "_PIECE_BYTES", 300)
    monkeypatch.setattr(typed_pieces, "_CELLS", 30)
    monkeypatch.setattr(inputs, "_ROWS", 6)
    for output in ("out.csv", "out.parquet"):
        done = forge("predict", "kinds", tmp_path / name, "--output", tmp_path / output)
        assert done.stderr == whole.stderr
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == expected
    assert polars.read_parquet(tmp_path / "out.parquet").write_csv() == expected


def test_an_array_has_the_features_in_their_order(tmp_path: Path) -> None:
    forge(
        *TRAIN, "--samples", "100", "--features", "4", "--classes", "2", "--models", "1", "--output", tmp_path / "run"
    )
    values = np.random.default_rng(4).normal(size=(30, 4))
    model = load_model(tmp_path / "run" / "cognate_planner_1")
    expected = "prediction\n" + "".join(f"{one}\n" for one in model.predict(values).tolist())
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "x.npz", X=values.reshape(30, 2, 2), other=np.zeros(3))
    polars.DataFrame({f"x{place + 1}": values[:, place] for place in range(4)}).write_parquet(tmp_path / "x.parquet")
    for name in ("x.npy", "x.npz", "x.parquet"):
        assert forge("predict", tmp_path / "run", tmp_path / name).stdout == expected
    np.save(tmp_path / "wide.npy", np.zeros((3, 3)))
    done = forge("predict", tmp_path / "run", tmp_path / "wide.npy", status=2)
    assert "the array has the shape (3, 3), and cognate_planner_1 takes (N, 4)" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.csv", None, "absent.csv: there is no such file; check the path"),
        ("empty.csv", "", "empty.csv is empty; it needs a header with column names, and rows of data"),
        ("header.csv", "length,colour,wild\n", "header.csv has no rows; there is nothing to predict"),
        ("ragged.csv", "length,colour,wild\n1,red\n", "row 1 (line 1 below the header) has 2 values and not 3"),
        ("t.txt", "x", "t.txt is no table; give a file that ends in .csv, .tsv"),
        ("t.sav", "x", "t.sav is an SPSS file; convert it"),
        ("t.parquet", "x", "t.parquet is no readable Parquet file"),
        ("t.npy", "x", "t.npy is not a .npy file"),
    ],
)
def test_a_file_that_cannot_be_predicted_for(tmp_path: Path, name: str, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    done = forge("predict", "kinds", tmp_path / name, "--output", tmp_path / "out.csv", status=2)
    assert words in done.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_an_error_below_leaves_the_earlier_output(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_ROWS", 2)
    (tmp_path / "wrong.csv").write_text("length,colour,wild\n" + "1,red,yes\n" * 6 + "long,red,no\n", encoding="utf-8")
    out = tmp_path / f"out{ending}"
    out.write_text("before", encoding="utf-8")
    done = forge("predict", "kinds", tmp_path / "wrong.csv", "--output", out, status=2)
    assert "column 'length' has 'long' in row 7" in done.stderr
    assert out.read_text(encoding="utf-8") == "before"
    assert sorted(os.listdir(tmp_path)) == [out.name, "wrong.csv"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_signal_leaves_the_earlier_output_and_nothing_half_written(
    tmp_path: Path, ending: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forge_tui.training.prediction.files import FilePredictions

    def interrupted(found: FilePredictions) -> Iterator[polars.DataFrame]:
        yield polars.DataFrame({"prediction": ["rose"]})
        os.kill(os.getpid(), number)
        yield polars.DataFrame({"prediction": ["aster"]})

    monkeypatch.setattr(FilePredictions, "frames", interrupted)
    out = tmp_path / f"out{ending}"
    out.write_text("before", encoding="utf-8")
    # Where the tests run in the background of a script, they have inherited that SIGINT is ignored.
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    inherited = signal.signal(number, usual)
    try:
        forge("predict", "kinds", "new.csv", "--output", out, status=128 + number)
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, inherited)
    assert out.read_text(encoding="utf-8") == "before"
    assert os.listdir(tmp_path) == [out.name]


@pytest.mark.parametrize(
    ("output", "status", "words"),
    [
        ("out.xlsx", 2, "out.xlsx: the name must end in .csv, .parquet, .jsonl, .ndjson"),
        ("absent/out.csv", 4, "there is no directory"),
        ("directory.csv", 2, "is no file; leave --output out to write CSV to standard output"),
        ("new.csv", 2, "is the table itself; give the predictions another name"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_first(
    place: Path, tmp_path: Path, output: str, status: int, words: str
) -> None:
    (tmp_path / "directory.csv").mkdir()
    (tmp_path / "new.csv").write_bytes((place / "new.csv").read_bytes())
    done = forge("predict", "kinds", tmp_path / "new.csv", "--output", tmp_path / output, status=status)
    assert words in done.stderr


def test_a_full_disk_is_told(place: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "forge_tui", "predict", "kinds", "new.csv"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (4, False)
    assert "cannot write standard output: No space left on device" in done.stderr


def test_a_reader_that_goes_ends_it_quietly(place: Path, tmp_path: Path) -> None:
    polars.concat([polars.read_csv("new.csv")] * 3000).write_csv(tmp_path / "long.csv")
    process = begin("predict", "kinds", tmp_path / "long.csv")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "prediction\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 141


def test_what_is_no_run_or_no_model_of_a_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(tmp_path / "absent"), "new.csv"]) == 2
    assert "absent" in capsys.readouterr().err
    for name in ("text", "modular"):
        old = install(name, tmp_path / name)
        done = forge("predict", old.run, "new.csv", status=2)
        assert "takes tokens, int64 (N, T), and no table: call the module itself" in done.stderr


def test_a_model_of_0_1_0_predicts(tmp_path: Path) -> None:
    old = install("completed", tmp_path / "old")
    stem = best(str(old.run))
    model = load_model(stem)
    values = np.random.default_rng(3).normal(size=(12, len(model.features)))
    columns = {name: values[:, place] for place, name in enumerate(model.features)}
    polars.DataFrame(columns).select(reversed(model.features)).write_csv(tmp_path / "t.csv")
    found = rows(forge("predict", old.run, tmp_path / "t.csv").stdout)
    assert [row["prediction"] for row in found] == [str(one) for one in model.predict(values).tolist()]
    wrong = values.copy()
    wrong[3, 1] = np.nan
    polars.DataFrame({name: wrong[:, place] for place, name in enumerate(model.features)}).write_csv(tmp_path / "w.csv")
    done = forge("predict", old.run, tmp_path / "w.csv", status=2)
    assert f"column {model.features[1]!r} has" in done.stderr
    assert "in row 4, and the model needs a finite number" in done.stderr


def test_custom_code_runs_only_where_it_is_trusted(tmp_path: Path) -> None:
    old = unpack("custom", tmp_path / "old")  # this user has not started it
    record = json.loads(next(old.run.glob("cognate_*.json")).read_bytes())
    np.save(tmp_path / "x.npy", np.zeros((2, len(record["features"]))))
    done = forge("predict", old.run, tmp_path / "x.npy", status=2)
    assert "--trust-code" in done.stderr
    assert done.stdout == ""
    assert len(rows(forge("predict", old.run, tmp_path / "x.npy", "--trust-code").stdout)) == 2


OTHERS = {
    "function": ("--train", "train.py"),
    "command": ("--parse", "json", "--", sys.executable, "-c", 'print(\'{"loss": 0.5, "epoch": 1}\')'),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_a_command_or_a_function_trained_refuses(tmp_path: Path, other: str) -> None:
    (tmp_path / "train.py").write_text(
        "def train(trial):\n    trial.report(epoch=1, loss=0.5)\n",
        encoding="utf-8",
    )
    forge("--no-ui", "--policy", "dedicated", "--models", "1", "--output", "run", *OTHERS[other], cwd=tmp_path)
    done = forge("predict", tmp_path / "run", "new.csv", status=2)
    assert "which alone knows what " in done.stderr
