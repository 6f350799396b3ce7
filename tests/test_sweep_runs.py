"""Whole runs of a sweep: each model has its own config, from the first check to the report."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from doc_pages import text_of
from running import SMALL, begin, epochs_of, events, forge, has_ended, processes_of, wait_until, weights

from forge_tui import client, load_model
from forge_tui.analysis.configs import config_results
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.settings.files import read_settings

RUN = ("--no-ui", "--json", *SMALL, "--models", "2", "--epochs", "3", "--set", "data.samples=200")


def record(directory: Path, name: str) -> dict[str, Any]:
    return json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))


def test_every_combination_and_seed_is_a_model_with_its_own_config(run_directory: Path) -> None:
    sweep = ("--sweep", "model_type=planner,memory", "--sweep", "learning_rate=0.001,0.01")
    told = events(forge(*RUN, *sweep, "--output", run_directory).stdout)
    expected = [
        (f"cognate_{kind}_{index}", kind, rate, seed)
        for index, (kind, rate, seed) in enumerate(
            ((kind, rate, seed) for kind in ("planner", "memory") for rate in (0.001, 0.01) for seed in (0, 1)), 1
        )
    ]
    started = [event for event in told if event["event"] == "model_started"]
    assert [
        (one["model"], one["config"]["model_type"], one["config"]["learning_rate"], one["seed"]) for one in started
    ] == expected
    assert told[0]["models"] == 8
    for name, kind, rate, seed in expected:
        found = record(run_directory, name)
        assert (found["config"]["model_type"], found["config"]["learning_rate"], found["seed"]) == (kind, rate, seed)
        assert found["settings"]["training"]["learning_rate"] == rate
        assert found["settings"]["sweep"] == {}
        load_model(run_directory / name)
    assert read_settings(run_directory / "settings.toml").sweep == {
        "training.model_type": ("planner", "memory"), "training.learning_rate": (0.001, 0.01),
    }  # fmt: skip
    with client.attach(run_directory) as run:
        snapshot = run.snapshot()
    assert snapshot.run.model_type == "planner, memory"
    assert [one.combination for one in snapshot.models[2:4]] == [{"model_type": "planner", "learning_rate": 0.01}] * 2

    report = json.loads(forge("report", run_directory, "--json").stdout)["configs"]
    assert report["ranked_by"] == "validation_accuracy"
    means = [one["final"]["validation_accuracy"]["mean"] for one in report["configs"]]
    assert means == sorted(means, reverse=True)
    assert sorted(index for one in report["configs"] for index in one["models"]) == list(range(1, 9))
    text = forge("report", run_directory).stdout
    assert re.search(r"RANK +model_type +learning_rate +MODELS +LOSS +VAL LOSS +ACCURACY\n1 ", text)
    assert text.count("2/2 done") == 4
    assert " ± " in text


def test_a_sweep_of_the_data_gives_each_model_its_own(run_directory: Path) -> None:
    forge(*RUN, "--models", "1", "--sweep", "classes=4,7", "--output", run_directory)
    assert [len(record(run_directory, f"cognate_planner_{index}")["classes"]) for index in (1, 2)] == [4, 7]


def test_like_models_train_together_and_a_resume_gives_the_same_bytes(run_directory: Path) -> None:
    whole, parts = run_directory / "whole", run_directory / "parts"
    fused = (
        *RUN[:2], "--model-size", "2000", "--policy", "dedicated", "--threads", "1", "--models", "2", "--mode",
        "parallel", "--workers", "2", "--fuse", "4", "--sweep", "learning_rate=0.001,0.01", "--sweep",
        "batch_size=16,32", "--checkpoint-interval", "2",
    )  # fmt: skip
    told = events(forge(*fused, "--epochs", "6", "--output", whole).stdout)
    groups = {tuple(event["group"]) for event in told if event["event"] == "model_started"}
    assert groups == {
        tuple(f"cognate_planner_{index}" for index in indexes) for indexes in ((1, 2, 5, 6), (3, 4, 7, 8))
    }
    forge(*fused, "--epochs", "3", "--output", parts)
    forge("resume", parts, "--epochs", "6", "--json")
    assert weights(parts) == weights(whole)
    for index, rate in enumerate((0.001, 0.001, 0.001, 0.001, 0.01, 0.01, 0.01, 0.01), 1):
        assert record(parts, f"cognate_planner_{index}")["config"]["learning_rate"] == rate


def test_a_killed_runner_goes_on_with_each_models_own_config(run_directory: Path) -> None:
    front_end = begin(
        *RUN, "--epochs", "100000000", "--sweep", "batch_size=8,64", "--models", "1", "--output", run_directory
    )
    wait_until(lambda: epochs_of(run_directory) > 2, "the first model trains")
    for process in processes_of(run_directory, "runner"):
        process.kill()
    wait_until(lambda: has_ended(run_directory), "all processes are gone")
    front_end.communicate()
    forge("resume", run_directory, "--detach")
    wait_until(lambda: epochs_of(run_directory) > 3, "it goes on")
    forge("cancel", run_directory, "1")
    wait_until(lambda: epochs_of(run_directory, 2) > 2, "the second one trains")
    with client.attach(run_directory) as run:
        second = run.snapshot().models[1]
    assert (second.config["batch_size"], second.combination) == (64, {"batch_size": 64})
    forge("stop", run_directory)
    forge("wait", run_directory, status=1)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("model_size=2000,1000", "with model_size 1000: "),
        ("dataset=synthetic,absent.csv", "absent.csv"),
        ("model_size=2000,500", "--sweep model_size=2000,500: 500 must be at least 1000"),
    ],
)
def test_a_check_looks_at_every_config_and_names_the_wrong_one(sweep: str, message: str, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(chr(500 + number % 300) for number in range(5_000)), encoding="utf-8")
    dataset = () if sweep.startswith("dataset") else ("--dataset", text)
    done = forge("--no-ui", "--check", *dataset, "--sweep", sweep, status=2)
    assert message in done.stderr


def test_a_check_tells_how_many_models_of_which_sizes() -> None:
    done = forge("--no-ui", "--check", "--models", "2", "--sweep", "model_size=2000,8000")
    assert re.match(r"Everything is in order: 4 planner models of [12],\d+ to [78],\d+ parameters, ", done.stdout)


def test_auto_settles_groups_within_a_kind() -> None:
    plan = json.loads(
        forge(
            "plan", "--policy", "dedicated", "--threads", "1", "--model-size", "2000", "--models", "2", "--json",
            "--sweep", "learning_rate=0.001,0.01", "--sweep", "batch_size=16,32",
        ).stdout
    )  # fmt: skip
    together = {estimate["way"]["models"] for estimate in plan["estimates"]}
    assert max(together) == 4


def test_bench_measures_no_sweep() -> None:
    assert "leave out the sweep of training.batch_size" in forge("bench", "--sweep", "batch_size=8,16", status=2).stderr


def test_the_guides_example_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = text_of("docs/guide/sweeps.md")
    command = re.search(r"\$ forge-tui (--no-ui .*)", page)
    assert command is not None
    monkeypatch.chdir(tmp_path)
    forge(*shlex.split(command[1]))
    with client.attach(tmp_path / "rates") as run:
        snapshot = run.snapshot()
        models = snapshot.models
    assert {one.phase for one in models} == {TrainingPhase.COMPLETED}
    shown = re.findall(r"^(\d) +([\d.]+) +(\d+) +3/3 done .* ([\d.]+) ± [\d.]+$", page, re.MULTILINE)
    results = config_results(snapshot)
    assert results is not None
    assert [(int(rank), float(rate), int(size)) for rank, rate, size, _ in shown] == [
        (one.rank, *one.combination.values()) for one in results.results
    ]
    means = [one.finals.metrics["validation_accuracy"].mean for one in results.results]
    assert [float(mean) for *_, mean in shown] == pytest.approx(means, abs=0.03)
