"""Whole runs of a search: proposals, values, pruned trials, reports, and the same trials after a kill and a resume."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import SMALL, begin, events, forge, has_ended, processes_of, wait_until

from forge_tui import client, load_model
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.runner.search.draws import STARTUP_TRIALS
from forge_tui.settings.files import read_settings

RUN = ("--no-ui", "--json", *SMALL, "--epochs", "3", "--set", "data.samples=200")
SPACE = ("--space", "learning_rate=1e-4..1e-1:log", "--space", "batch_size=16,32,64")


def of(told: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in told if event["event"] == kind]


def combinations(directory: Path) -> list[dict[str, Any]]:
    with client.attach(directory) as run:
        return [model.combination for model in run.snapshot().models]


def test_trials_train_with_their_values_and_are_ranked_by_what_the_search_took(run_directory: Path) -> None:
    told = events(
        forge(*RUN, "--search", "random", "--trials", "4", "--models", "2", *SPACE, "--output", run_directory).stdout
    )
    assert told[0]["models"] == 8
    proposed = {event["index"]: event for event in of(told, "model_proposed")}
    for index, one in proposed.items():
        assert one["trial"] == (index + 1) // 2
        started = next(event for event in of(told, "model_started") if event["index"] == index)
        values = {name: started["config"][name] for name in ("learning_rate", "batch_size")}
        assert values == one["combination"]
        assert started["seed"] == (index - 1) % 2
        record = json.loads((run_directory / f"{started['model']}.json").read_text(encoding="utf-8"))
        assert record["settings"]["training"]["learning_rate"] == values["learning_rate"]
        load_model(run_directory / started["model"])
    assert len({json.dumps(one["combination"]) for one in proposed.values()}) == 4
    valued = {event["index"]: event["value"] for event in of(told, "model_valued")}
    for index, value in valued.items():
        losses = [one["validation_loss"] for one in of(told, "epoch_finished") if one["index"] == index]
        assert value == min(losses)
    settings = read_settings(run_directory / "settings.toml").search
    assert settings.space == {"training.learning_rate": "1e-4..1e-1:log", "training.batch_size": (16, 32, 64)}

    report = json.loads(forge("report", run_directory, "--json").stdout)
    configs = report["configs"]["configs"]
    assert report["search"] == "random"
    assert report["configs"]["ranked_by"] == "validation_loss"
    means = [one["value"]["mean"] for one in configs]
    assert means == sorted(means)
    assert means == [statistics.fmean(valued[index] for index in one["models"]) for one in configs]
    assert {one["key"] for one in report["configs"]["importance"]} == {"learning_rate", "batch_size"}
    text = forge("report", run_directory).stdout
    assert "RANK  learning_rate  batch_size  MODELS    BEST VAL LOSS" in text
    assert "ranked by mean validation loss at the best epoch of each model" in text
    page = run_directory.parent / "page.html"
    forge("report", run_directory, "--format", "html", "--output", page)
    assert "Best validation loss" in page.read_text(encoding="utf-8")


def test_halving_prunes_trials(run_directory: Path) -> None:
    told = events(
        forge(
            *RUN, "--epochs", "4", "--halving", "2", "--search", "random", "--trials", "6", *SPACE,
            "--output", run_directory,
        ).stdout
    )  # fmt: skip
    pruned = {one["index"] for one in of(told, "phase_changed") if one["pruned"]}
    assert pruned
    assert {one["index"] for one in of(told, "model_valued")} == set(range(1, 7))
    assert told[-1]["status"] == "completed"
    text = forge("report", run_directory).stdout
    assert text.count("0/1 done, 1 pruned") == len(pruned)
    ranked = json.loads(forge("report", run_directory, "--json").stdout)["configs"]["configs"]
    order = [one["models"][0] in pruned for one in ranked]
    assert order == sorted(order), "completed trials come first"


def test_a_check_looks_at_the_ends_of_each_range_and_trains_nothing(tmp_path: Path) -> None:
    done = forge("--no-ui", "--check", "--search", "random", *SPACE, "--space", "model_size=2k..8k")
    assert "40 planner models of 1,9" in done.stdout or "40 planner models of 2,0" in done.stdout
    assert " to 7,9" in done.stdout or " to 8,0" in done.stdout
    text = tmp_path / "text.txt"
    text.write_text("".join(chr(500 + number % 300) for number in range(5_000)), encoding="utf-8")
    size = ("--dataset", text, "--search", "random", "--space", "model_size=1000..8000")
    assert "with model_size 1000: " in forge("--no-ui", "--check", *size, status=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_data_that_depends_on_the_search_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(
        "import numpy as np\n\ndef dataset(shift=0.0):\n    x = np.random.default_rng(0).normal(size=(60, 3)) + shift\n"
        "    return x, (x[:, 0] > 0).astype(int)\n",
        encoding="utf-8",
    )
    space = ("--search", "random", "--trials", "3", "--space", "model.shift=0..1")
    done = forge("--no-ui", "--check", "--dataset", "made.py", *space, cwd=tmp_path, status=2)
    assert "the data changes with model.shift, and the trials of a search are compared on the same data" in done.stderr


def test_a_training_function_is_searched_by_the_metric_that_it_declares(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(
        "def train(trial, rate: float, width: int):\n"
        "    for epoch in range(1, trial.epochs + 1):\n"
        "        score = 1 - abs(rate - 0.5) + epoch / 100\n"
        "        trial.report(score=score, epoch=epoch, goal={'score': 'higher'})\n",
        encoding="utf-8",
    )
    told = events(
        forge(
            "--no-ui", "--json", "--policy", "dedicated", "--train", "loop.py", "--epochs", "2", "--select-by", "score",
            "--search", "random", "--trials", "4", "--space", "model.rate=0..1", "--space", "model.width=1..9:int",
            "--output", "found",
            cwd=tmp_path,
        ).stdout
    )  # fmt: skip
    rates = {one["index"]: one["combination"]["rate"] for one in of(told, "model_proposed")}
    values = {one["index"]: one["value"] for one in of(told, "model_valued")}
    assert values == pytest.approx({index: 1.02 - abs(rate - 0.5) for index, rate in rates.items()})
    configs = json.loads(forge("report", tmp_path / "found", "--json").stdout)["configs"]
    assert configs["ranked_by"] == "score"
    best = max(values, key=values.__getitem__)
    assert configs["configs"][0]["models"] == [best]


def test_a_command_gets_its_values_and_a_failure_counts_as_the_worst(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import json, sys\nrate = float(sys.argv[1])\nprint(json.dumps({'epoch': 1, 'loss': rate}))\n"
        "sys.exit(3 if rate > 0.7 else 0)\n",
        encoding="utf-8",
    )
    done = forge(
        "--no-ui", "--json", "--policy", "dedicated", "--parse", "json", "--max-retries", "0", "--search", "random",
        "--trials", "6", "--space",
        "model.rate=0..1", "--output", tmp_path / "found", "--", sys.executable, script, "{rate}", status=1,
    )  # fmt: skip
    told = events(done.stdout)
    rates = {one["index"]: one["combination"]["rate"] for one in of(told, "model_proposed")}
    failed = {one["index"] for one in of(told, "model_failed")}
    assert failed == {index for index, rate in rates.items() if rate > 0.7}
    assert 0 < len(failed) < 6
    assert {one["index"]: one["value"] for one in of(told, "model_valued")} == pytest.approx(
        {index: rate for index, rate in rates.items() if rate <= 0.7}
    )


def test_sweep_and_bench_are_refused_beside_a_search() -> None:
    done = forge("--no-ui", "--check", "--search", "random", *SPACE, "--sweep", "optimizer=adam,sgd", status=2)
    assert "a search tries values in place of a sweep of training.optimizer" in done.stderr
    assert "leave out --search" in forge("bench", "--search", "random", *SPACE, status=2).stderr


class TestTpe:
    """With the real Optuna."""

    @pytest.fixture(autouse=True)
    def optuna(self) -> None:
        pytest.importorskip("optuna", reason="needs Optuna (extra `search`)")

    def test_a_run_that_was_killed_proposes_the_same_trials(self, run_directory: Path) -> None:
        whole, broken, holds = run_directory / "whole", run_directory / "broken", run_directory.parent / "holds"
        # While a hold is there, the model after the one that it names is not built: the kill cannot come too late.
        code = run_directory.parent / "net.py"
        code.write_text(
            "import os, time\nfrom torch import nn\n\ndef model(inputs, width=8):\n"
            f"    for name in os.listdir({str(holds)!r}):\n"
            f"        while os.path.exists(os.path.join({str(broken)!r}, name + '.json')):\n"
            f"            if not os.path.exists(os.path.join({str(holds)!r}, name)):\n                break\n"
            "            time.sleep(0.02)\n"
            "    layers = nn.Linear(inputs.features, width), nn.Tanh(), nn.Linear(width, inputs.outputs)\n"
            "    return nn.Sequential(*layers)\n",
            encoding="utf-8",
        )
        holds.mkdir()
        search = (
            *RUN, "--model-type", code, "--search", "tpe", "--trials", "15", *SPACE, "--space", "model.width=4..64:int",
        )  # fmt: skip
        told = events(forge(*search, "--output", whole).stdout)
        assert [one["reason"] for one in of(told, "model_proposed")][9:12] == [
            "at random", "by TPE from 10 results", "by TPE from 11 results",
        ]  # fmt: skip

        for done in (3, 12):  # among the random trials, and among those of TPE
            hold = holds / f"cognate_net_{done}"
            hold.touch()
            front_end = begin("resume", broken, "--json") if broken.exists() else begin(*search, "--output", broken)
            wait_until(lambda done=done: proposed_in(broken) == done + 1, f"trial {done + 1} is proposed")
            runners = processes_of(broken, "runner")
            samplers = [one for runner in runners for one in runner.children() if is_sampler(one)]
            assert len(samplers) == (done > STARTUP_TRIALS), "it is there when it is needed"
            for process in runners:
                process.kill()
            wait_until(lambda: has_ended(broken), "all processes are gone")
            wait_until(lambda samplers=samplers: not any(map(is_sampler, samplers)), "and so is that of the sampler")
            front_end.communicate()
            hold.unlink()
        forge("resume", broken, "--json")
        with client.attach(broken) as run, client.attach(whole) as other:
            found, expected = run.snapshot().models, other.snapshot().models
        assert [model.combination for model in found] == [model.combination for model in expected]
        assert [model.value for model in found] == [model.value for model in expected]
        assert {model.phase for model in found} == {TrainingPhase.COMPLETED}
        load_model(broken / found[-1].name)  # the searched argument of its code is one of the run's

    def test_several_workers_propose_beside_running_trials(self, run_directory: Path) -> None:
        told = events(
            forge(
                *RUN, "--mode", "parallel", "--workers", "2", "--search", "tpe", "--trials", "14", *SPACE,
                "--output", run_directory,
            ).stdout
        )  # fmt: skip
        assert told[-1]["status"] == "completed"
        assert len({json.dumps(one) for one in combinations(run_directory)}) == 14


def is_sampler(process: psutil.Process) -> bool:
    """Whether it is the live process of a sampler."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "forge-tui: search" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def proposed_in(directory: Path) -> int:
    """How many trials have values so far; none while there is no run."""
    return sum(map(bool, combinations(directory))) if (directory / "run.db").exists() else 0
