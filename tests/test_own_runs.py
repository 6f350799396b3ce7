"""Custom models and data, as users write them: `forge-tui new`, runs of it, resume, and the model back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from depth import deep
from running import begin, epochs_of, events, forge, has_ended, processes_of, script, wait_until, weights

from forge_tui.settings.files import read_settings

NET = """
import torch
from torch import nn


def model(inputs, hidden: int = 8, dropout: float = 0.0):
    return nn.Sequential(
        nn.Linear(inputs.features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, inputs.outputs)
    )


def dataset(seed, samples):
    features = torch.randn(samples, 4, generator=torch.Generator().manual_seed(seed))
    return features, (features[:, 0] > 0).long()


def metric(outputs, targets):
    return (outputs.argmax(dim=1) != targets).float().mean()


def raises(inputs):
    raise RuntimeError("no network today")


class Fails(nn.Linear):
    def forward(self, x):
        if self.steps == 3:
            raise RuntimeError("three are enough")
        self.steps += self.training
        return super().forward(x)

    steps = 0


def fails(inputs):
    return Fails(inputs.features, inputs.outputs)


class Locked(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        import threading
        self.lock = threading.Lock()


def locked(inputs):
    return Locked(inputs.features, inputs.outputs)


def norm(inputs):
    return nn.Sequential(nn.Linear(inputs.features, inputs.outputs), nn.BatchNorm1d(inputs.outputs))


class Pair(nn.Linear):
    def forward(self, x):
        out = super().forward(x)
        return {"logits": out, "sizes": (out.square().sum(dim=1),)}


def pair(inputs):
    return Pair(inputs.features, inputs.outputs)


def pair_loss(outputs, targets):
    return nn.functional.cross_entropy(outputs["logits"], targets) + 0.1 * outputs["sizes"][0].mean()


def pair_metric(outputs, targets):
    assert outputs["sizes"][0].shape == targets.shape
    return (outputs["logits"].argmax(dim=1) == targets).float().mean()
"""
QUICK = ("--no-ui", "--dataset", "net.py", "--policy", "dedicated", "--threads", "1", "--set", "data.samples=100")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    return tmp_path


@dataclass(frozen=True)
class Trained:
    """A run of two models with a metric of its own, and its events."""

    place: Path
    run: Path
    events: list[dict[str, Any]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("trained")
    (place / "net.py").write_text(NET, encoding="utf-8")
    own = ("--model-type", "net.py", "--set", "model.hidden=5", "--metric", "net.py", "--metric-goal", "least")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_TUI_STATE", str(place / "state"))
        said = forge(*QUICK, "--json", *own, "--models", "2", "--epochs", "3", "--output", "run", cwd=place).stdout
    return Trained(place, place / "run", events(said))


@pytest.fixture
def finished(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """That run, as its user sees it."""
    monkeypatch.setenv("FORGE_TUI_STATE", str(trained.place / "state"))
    return trained


def test_the_model_comes_back_from_anywhere(finished: Trained) -> None:
    shown = script("import forge_tui; print(forge_tui.load_model(sys.argv[1]))", finished.run / "cognate_net_1").stdout
    assert "out_features=5" in shown
    record = json.loads((finished.run / "cognate_net_1.json").read_bytes())
    assert record["settings"]["model"] == {"hidden": 5}
    assert record["config"]["model_type"] == str(finished.place / "net.py")
    assert read_settings(finished.run / "settings.toml").model == {"hidden": 5}


def test_a_killed_run_with_dropout_resumes_to_the_same_bytes(place: Path) -> None:
    """From another directory: the code is found where it was."""
    run = (
        *QUICK,
        "--model-type",
        "net.py",
        "--models",
        "2",
        "--set",
        "model.dropout=0.5",
        "--checkpoint-interval",
        "5",
    )
    forge(*run, "--epochs", "60", "--output", "whole", cwd=place)
    process = begin(*run, "--epochs", "60", "--output", "killed", cwd=place)
    try:
        wait_until(lambda: epochs_of(place / "killed") >= 8, "some epochs")
        for runner in processes_of(place / "killed", "runner"):
            runner.kill()
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: has_ended(place / "killed"), "the end of all its processes")
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    forge("resume", "../killed", "--no-ui", cwd=elsewhere)
    assert weights(place / "killed") == weights(place / "whole")


def test_a_metric_of_ones_own_is_measured_shown_and_decides(finished: Trained) -> None:
    lines, run = finished.events, finished.run
    ended = [line for line in lines if line["event"] == "epoch_finished"]
    assert all(line["validation_metric"] == pytest.approx(1.0 - line["validation_accuracy"]) for line in ended)
    finals = {line["model"]: line["validation_metric"] for line in lines if line["event"] == "model_completed"}
    told = json.loads(forge("best", run, "--json").stdout)
    assert (told["metric"], told["best_is"], told["value"]) == ("validation_metric", "least", min(finals.values()))
    assert "metric 0." in forge("status", run).stdout
    assert ",validation_metric" in forge("report", run, "--format", "csv").stdout.splitlines()[0]


def decisions(output: str, kind: str) -> list[str]:
    return [line["reason"] for line in events(output) if line["event"] == "decision" and line["kind"] == kind]


@pytest.mark.parametrize(
    ("function", "values", "words"),
    [
        ("model", ("--set", "model.dropout=0.5"), "it draws random numbers during training, as dropout does"),
        deep("locked", (), "TypeError: cannot pickle '_thread.lock' object"),
    ],
)
def test_what_cannot_be_trained_together_is_trained_alone(
    place: Path, function: str, values: tuple[str, ...], words: str
) -> None:
    run = (*QUICK, "--json", "--mode", "parallel", "--model-type", f"net.py:{function}", *values, "--epochs", "2")
    said = forge(*run, "--models", "4", "--output", "run", cwd=place).stdout
    (reason,) = decisions(said, "group")
    assert reason == f"1 model per worker: such models cannot be trained together ({words})"
    asked = forge(*run, "--models", "2", "--fuse", "2", "--output", "other", cwd=place, status=2).stderr
    assert f"--fuse 2: such models cannot be trained together ({words}); use --fuse 1" in asked


def test_models_of_ones_own_train_together(place: Path) -> None:
    run = (*QUICK, "--json", "--mode", "parallel", "--model-type", "net.py", "--epochs", "3", "--models", "3")
    alone = forge(*run, "--fuse", "1", "--output", "alone", cwd=place).stdout
    together = forge(*run, "--fuse", "3", "--output", "together", cwd=place).stdout

    def losses(output: str) -> dict[tuple[str, int], Any]:
        ended = [line for line in events(output) if line["event"] == "epoch_finished"]
        return {(line["model"], line["epoch"]): line["loss"] for line in ended}

    assert losses(together) == pytest.approx(losses(alone), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model-type", "net.py:raises"), "raises RuntimeError: no network today ({place}/net.py, line 22)"),
        (("--model-type", "net.py:nothing"), "has no function nothing"),
        (("--model-type", "other.py"), "--model-type other.py: there is no such file in {place}"),
        (("--model-type", "net.py", "--set", "model.hidden=x"), 'model.hidden = "x": must be a whole number'),
        (("--set", "model.hidden=4"), "model.hidden: no parameter of --dataset {place}/net.py has that name"),
        (("--model-type", "net.py", "--set", "model.a-b=1"), "unknown key model.a-b"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_anything_is_made(place: Path, arguments: tuple[str, ...], words: str) -> None:
    said = forge(*QUICK, *arguments, "--models", "1", "--output", "run", cwd=place, status=2).stderr
    assert words.format(place=place) in said
    assert not (place / "run").exists()


def test_a_batch_of_one_that_a_model_cannot_take_ends_check_and_start(place: Path) -> None:
    """The data is split 90 : 10; in batches of 89 the last one has one sample."""
    run = (*QUICK, "--model-type", "net.py:norm", "--models", "2", "--epochs", "2", "--batch-size", "89")
    for how in (("--check",), ("--output", "run")):
        said = forge(*run, *how, cwd=place, status=2).stderr
        assert f"--model-type {place}/net.py:norm fails for a batch of 1 sample, the last of each epoch" in said
        assert "ValueError: Expected more than 1 value per channel" in said
        assert "--drop-last leaves that batch out" in said
        assert not (place / "run").exists()
        assert not (place / "runs").exists()
    forge(*run, "--output", "run", "--drop-last", cwd=place)


def test_what_fails_with_one_config_of_a_sweep_is_told_with_it(place: Path) -> None:
    run = (*QUICK, "--model-type", "net.py:norm", "--check")
    said = forge(*run, "--sweep", "batch_size=30,89", cwd=place, status=2).stderr
    assert "with batch_size 89: the forward pass of" in said
    forge(*run, "--sweep", "batch_size=30,45", cwd=place)


def test_models_with_several_outputs_train_together_and_come_back(place: Path) -> None:
    code = ("--model-type", "net.py:pair", "--loss", "net.py:pair_loss", "--metric", "net.py:pair_metric")
    run = (*QUICK, "--json", "--mode", "parallel", *code, "--epochs", "3", "--models", "3")
    alone = forge(*run, "--fuse", "1", "--output", "alone", cwd=place).stdout
    together = forge(*run, "--fuse", "3", "--output", "together", cwd=place).stdout

    def measured(output: str) -> dict[tuple[str, int, str], Any]:
        ended = [line for line in events(output) if line["event"] == "epoch_finished"]
        assert all(line["validation_accuracy"] is None for line in ended)
        names = ("loss", "validation_loss", "validation_metric")
        return {(line["model"], line["epoch"], name): line[name] for line in ended for name in names}

    assert len(measured(together)) == 27
    assert measured(together) == pytest.approx(measured(alone), rel=1e-4)
    code_of_user = (
        "import torch, forge_tui; given = forge_tui.load_model(sys.argv[1])(torch.ones(2, 4)); "
        "print(sorted(given), tuple(given['sizes'][0].shape))"
    )
    shown = script(code_of_user, place / "together" / "cognate_pair_1").stdout
    assert shown == "['logits', 'sizes'] (2,)\n"
    said = forge("ensemble", "together", cwd=place, status=2).stderr
    assert "the models give a dict: a mean is taken only of models that give one tensor" in said


def test_code_that_raises_while_it_trains_fails_its_models_with_the_place(place: Path) -> None:
    """In the second epoch, which no check comes to."""
    run = (*QUICK, "--json", "--model-type", "net.py:fails", "--models", "1", "--batch-size", "83", "--epochs", "2")
    done = forge(*run, "--max-retries", "0", "--output", "run", cwd=place, status=1)
    assert f"forge-tui logs {place / 'run'} 1" in done.stderr
    said = done.stdout
    (failed,) = [line for line in events(said) if line["event"] == "model_failed"]
    told = f"RuntimeError: three are enough ({place / 'net.py'}, line 28)"
    assert (failed["kind"], failed["message"]) == ("exception", told)
    assert 'net.py", line 28' in failed["traceback"]


def test_viewing_imports_none_of_it(place: Path) -> None:
    forge(*QUICK, "--model-type", "net.py", "--models", "1", "--epochs", "1", "--output", "run", cwd=place)
    for file in (place / "net.py", *(place / "run" / "code").rglob("net.py")):
        file.write_text("raise SystemExit('imported')", encoding="utf-8")
    for command in (("status",), ("report",), ("report", "--format", "csv"), ("best",)):
        assert "cognate_net_1" in forge(command[0], "run", *command[1:], cwd=place).stdout
    forge("logs", "run", cwd=place)
    forge("runs", cwd=place)
    assert "training.model_type" in forge("config", "--settings", "run/settings.toml", cwd=place).stdout


def test_an_ensemble_of_ones_own_models_on_ones_own_data(finished: Trained) -> None:
    told = json.loads(forge("ensemble", finished.run, "--json").stdout)
    records = [json.loads((finished.run / f"cognate_net_{number}.json").read_bytes()) for number in (1, 2)]
    finals = [record["validation"]["loss"] for record in records]
    assert [model["validation_loss"] for model in told["models"]] == pytest.approx(finals, rel=1e-5)
    assert told["ensemble"]["validation_loss"] <= max(finals)


def test_settings_by_variable_and_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "own.toml").write_text('[training]\nmodel_type = "net.py"\n[model]\nhidden = 3\n', encoding="utf-8")
    monkeypatch.setenv("FORGE_TUI_MODEL__DROPOUT", "0.25")
    rows = forge("config", "--settings", "own.toml", cwd=place).stdout
    assert [line.split()[:2] for line in rows.splitlines() if line.startswith("model.")] == [
        ["model.hidden", "3"], ["model.dropout", "0.25"],
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["wide = {a = 1}", "wide = 1979-05-27", "wide = inf"])
def test_values_that_no_function_gets(place: Path, line: str) -> None:
    (place / "own.toml").write_text(f"[model]\n{line}\n", encoding="utf-8")
    said = forge("config", "--settings", "own.toml", cwd=place, status=2).stderr
    assert "own.toml, line 2: model.wide = " in said
    assert "must be text, a finite number, true or false, or a list of them" in said
