"""`forge-tui ensemble` and `load_ensemble`: a run's models taken together."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from run_directories import RunMaker
from running import SMALL, forge

from forge_tui import client, load_ensemble, load_model
from forge_tui.cli import main
from forge_tui.errors import ForgeError, UsageError
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.reports.ensemble import measure_ensemble


@pytest.fixture(scope="module")
def run(digits_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three models of handwritten digits."""
    where = tmp_path_factory.mktemp("ensemble")
    (where / "digits.csv").write_bytes(digits_csv.read_bytes())
    forge("--no-ui", *SMALL, "--dataset", "digits.csv", "--epochs", "3", "--output", "run", cwd=where)
    return where / "run"


def test_the_table_has_each_model_their_mean_and_the_ensemble(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ensemble", str(run)]) == 0
    out, said = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["MODEL", "VAL", "LOSS", "ACCURACY", "BAL", "ACC", "F1", "LOG", "LOSS", "AUC"]
    assert [row[0] for row in rows[1:4]] == [f"cognate_planner_{index}" for index in (1, 2, 3)]
    assert [rows[4][:3], rows[5][:1]] == [["mean", "of", "3"], ["ensemble"]]
    assert said == ""


def test_json_has_the_figures_that_the_run_recorded(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ensemble", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["task"], told["validation_samples"]) == ("run", "classification", 180)
    with client.attach(run) as attached:
        models = attached.snapshot().models
    for found, model in zip(told["models"], models, strict=True):
        assert (found["name"], found["index"]) == (model.name, model.index)
        assert found["validation_loss"] == pytest.approx(model.metrics.get("validation_loss"), rel=1e-4)
        assert found["validation_accuracy"] == model.metrics.get("validation_accuracy")
        assert found["validation_perplexity"] is None
    for name in ("validation_loss", "validation_accuracy"):
        assert told["mean"][name] == pytest.approx(statistics.fmean(one[name] for one in told["models"]))
    # The mean of the probabilities has at most the mean loss, as the logarithm is concave.
    assert told["ensemble"]["validation_loss"] <= told["mean"]["validation_loss"]


def test_the_module_is_of_all_models_or_of_those_named(run: Path) -> None:
    features = len(
        json.loads((run / "cognate_planner_1.json").read_bytes())["features"]
    )  # constant pixels are left out
    inputs = torch.rand(5, features) * 16
    each = [load_model(run / f"cognate_planner_{index}")(inputs).softmax(dim=-1) for index in (1, 2, 3)]
    torch.testing.assert_close(load_ensemble(run)(inputs).exp(), sum(each) / 3)
    some = load_ensemble(str(run), [3, "cognate_planner_1", "3"])
    torch.testing.assert_close(some(inputs).exp(), (each[0] + each[2]) / 2)
    with pytest.raises(UsageError, match="has no model 4; it has cognate_planner_1"):
        load_ensemble(run, [4])


@pytest.fixture
def data(run: Path) -> Iterator[Path]:
    """The run's data; afterwards it is as it was."""
    path, kept = run.parent / "digits.csv", run.parent / "kept.csv"
    shutil.copy2(path, kept)
    yield path
    os.replace(kept, path)


@pytest.fixture
def without_fingerprints(run: Path) -> Iterator[None]:
    """The models are as version 0.1.0 left them."""
    kept = {path: path.read_bytes() for path in run.glob("*.json")}
    for path, record in kept.items():
        path.write_text(json.dumps({name: value for name, value in json.loads(record).items() if name != "data"}))
    yield
    for path, record in kept.items():
        path.write_bytes(record)


def with_other_targets(lines: list[str]) -> list[str]:
    return [lines[0], *(line.rsplit(",", 1)[0] + f",{number % 10}" for number, line in enumerate(lines[1:]))]


def with_another_pixel(lines: list[str]) -> list[str]:
    """One that hardly shows in a loss, if its row is held back at all."""
    return [*lines[:-1], lines[-1].replace(",", "1,", 1)]


@pytest.mark.parametrize("change", [with_other_targets, with_another_pixel])
def test_data_that_has_changed_is_told(
    run: Path, data: Path, change: Callable[[list[str]], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    data.touch()
    assert main(["ensemble", str(run)]) == 0
    assert capsys.readouterr().err == ""
    lines = data.read_text(encoding="utf-8").splitlines()
    data.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")
    assert main(["ensemble", str(run)]) == 0
    what = "1,797 rows as before, but other values or another order"
    told = f"warning: the data has changed since the training of cognate_planner_1 and 2 more ({what})"
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("without_fingerprints")
def test_of_models_without_a_fingerprint_the_losses_tell_it(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ensemble", str(run)]) == 0
    assert capsys.readouterr().err == ""
    lines = data.read_text(encoding="utf-8").splitlines()
    data.write_text("\n".join(with_other_targets(lines)) + "\n", encoding="utf-8")
    assert main(["ensemble", str(run)]) == 0
    told = "cognate_planner_1 and 2 more (another validation loss than when it was trained)"
    assert told in capsys.readouterr().err


def test_data_that_is_gone_is_told(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.unlink()
    assert main(["ensemble", str(run)]) == 2
    assert f"{data}: there is no such file" in capsys.readouterr().err


def test_a_dataset_function_gives_its_split_of_the_training_and_the_callers_generators_stay(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "import torch\nfrom torch.utils.data import random_split\n\n"
        "def dataset():\n"
        "    x = torch.arange(400.0).view(100, 4)\n"
        "    train, held = (list(part) for part in random_split(range(100), [80, 20]))\n"
        "    return x[train], x[train].sum(1), x[held], x[held].sum(1)\n",
        encoding="utf-8",
    )
    forge("--no-ui", *SMALL, "--dataset", "data.py", "--epochs", "2", "--output", "run", cwd=tmp_path)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    with client.attach(tmp_path / "run") as attached:
        found = measure_ensemble(attached)
        models = attached.snapshot().models
    assert torch.equal(torch.get_rng_state(), before)
    assert found.changed() == []
    for measured, model in zip(found.measured.members, models, strict=True):
        assert measured["validation_loss"] == pytest.approx(model.metrics.get("validation_loss"), rel=1e-4)


def test_its_name_costs_no_torch() -> None:
    code = "import forge_tui, sys; forge_tui.load_ensemble; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_without_a_completed_model_it_fails_in_words(maker: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    path = maker.make("one", RunState.STOPPED, [maker.model(1, TrainingPhase.QUEUED)])
    assert main(["ensemble", str(path)]) == 1
    assert "run one: no model is completed (stopped); `forge-tui resume one`" in capsys.readouterr().err
    with pytest.raises(ForgeError, match="no model is completed"):
        load_ensemble(path)
