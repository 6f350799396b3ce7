"""Whole runs beside GPUs that are pretended: a torch without CUDA trains on the CPU, and commands get a GPU each."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from running import begin, forge, has_ended, kill_all, processes_of, wait_until

from forge_tui import client

SUPPORT = Path(__file__).parent / "support"
A, B, C = (f"GPU-{index:08x}" for index in range(3))
TELL = r"""
import json, os, pathlib, sys, time
import forge_tui

names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OMP_NUM_THREADS")
told = {name: os.environ.get(name) for name in names}
place = pathlib.Path(os.environ["FORGE_TRIAL_DIRECTORY"])
(place / "told.json").write_text(json.dumps(told))
# All of them at once: the second one starts when the first one's memory is measured.
while len(list(place.parents[1].glob("*/files/told.json"))) < int(sys.argv[2]):
    time.sleep(0.02)
forge_tui.report({}, loss=0.5, epoch=1)
"""
WAITS = r"""
import pathlib, time
import forge_tui

forge_tui.report({}, loss=0.5, epoch=1)
while not pathlib.Path("go").exists():
    time.sleep(0.02)
"""
FULL = r"""
import os, sys
if os.environ["CUDA_VISIBLE_DEVICES"] == "%s" and os.environ["FORGE_TRIAL_ATTEMPT"] == "1":
    sys.exit("torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered")
"""


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three GPUs, the last one nearly full."""
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT / "faults"))
    monkeypatch.setenv("MACHINE_GPUS", json.dumps([[80, 0], [80, 0], [80, 79]]))
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS"):
        monkeypatch.delenv(name, raising=False)


def recorded(run: Path, kind: str) -> list[dict[str, Any]]:
    with client.attach(run) as attached:
        return attached.events_of([kind])


def places(run: Path) -> list[str]:
    return [event["place"]["device"] for event in recorded(run, "model_started")]


def reasons(run: Path) -> list[str]:
    return [event["reason"] for event in recorded(run, "decision") if event["kind"] == "place"]


def told(run: Path, index: int) -> dict[str, str]:
    file = run / "checkpoints" / f"cognate_command_{index}" / "files" / "told.json"
    found: dict[str, str] = json.loads(file.read_bytes())
    return found


@pytest.mark.usefixtures("gpus")
def test_beside_a_gpu_a_torch_without_cuda_trains_on_the_cpu_and_the_run_says_why(tmp_path: Path) -> None:
    run = tmp_path / "run"
    forge("--no-ui", "--models", "1", "--epochs", "1", "--model-size", "1000", "--output", run)
    assert places(run) == ["cpu"]
    (reason,) = reasons(run)
    assert reason.startswith("the CPU: torch cannot use the GPUs: torch ")
    assert reason.endswith(" is built without CUDA")
    refused = forge("--no-ui", "--device", "cuda", "--output", tmp_path / "other", status=2)
    assert "is built without CUDA; use --device cpu, or auto" in refused.stderr


@pytest.mark.usefixtures("gpus")
def test_each_command_gets_gpus_of_its_own_and_none_is_placed_on_a_full_one(tmp_path: Path) -> None:
    (tmp_path / "tell.py").write_text(TELL, encoding="utf-8")
    run, command = tmp_path / "run", ("--", sys.executable, "tell.py", "{seed}")
    forge("--no-ui", "--models", "2", "--policy", "dedicated", "--mode", "parallel", "--workers", "2",
          "--cpus-per-model", "1", "--output", run, *command, "2", cwd=tmp_path)  # fmt: skip
    assert sorted(places(run)) == [A, B]
    expected = [
        {"CUDA_VISIBLE_DEVICES": uuid, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "OMP_NUM_THREADS": "1"} for uuid in (A, B)
    ]
    assert sorted((told(run, index) for index in (1, 2)), key=json.dumps) == expected
    assert {event["device"] for event in recorded(run, "model_started")} == {"cuda"}
    assert len(reasons(run)) == 3  # of the run and of each model
    both = tmp_path / "both"
    forge("--no-ui", "--models", "1", "--devices-per-model", "2", "--cpus-per-model", str(os.cpu_count()),
          "--policy", "dedicated", "--output", both, *command, "1", cwd=tmp_path)  # fmt: skip
    assert places(both) == [f"{A},{B}"]
    assert told(both, 1)["CUDA_VISIBLE_DEVICES"] == f"{A},{B}"
    assert told(both, 1)["OMP_NUM_THREADS"] == str(max(1, (os.cpu_count() or 1) // 2))


@pytest.mark.usefixtures("gpus")
def test_a_command_on_a_gpu_that_fails_is_started_again_on_another_at_no_retry(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FULL % A + TELL, encoding="utf-8")
    run = tmp_path / "run"
    forge("--no-ui", "--models", "1", "--max-retries", "0", "--output", run, "--", sys.executable, "fails.py",
          "{seed}", "1", cwd=tmp_path)  # fmt: skip
    assert places(run) == [A, B]
    (failed,) = recorded(run, "model_failed")
    assert (failed["kind"], failed["will_retry"]) == ("device_lost", True)
    (warned,) = [event for event in recorded(run, "resource_warning") if event["kind"] == "device"]
    assert warned["message"].startswith(f"GPU 0 ({A}): the command ended with status 1")
    assert "uncorrectable ECC error" in warned["message"]


@pytest.mark.usefixtures("gpus")
def test_a_run_whose_only_gpu_fails_stops_and_a_resume_continues_on_another_one_of_the_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fails.py").write_text(FULL % A + TELL, encoding="utf-8")
    run = tmp_path / "run"
    forge("--no-ui", "--models", "2", "--device", A, "--output", run, "--", sys.executable, "fails.py", "{seed}", "1",
          cwd=tmp_path, status=None)  # fmt: skip
    with client.attach(run) as attached:
        stopped = attached.snapshot()
    assert stopped.run.state.value == "stopped"
    assert (stopped.run.reason or "").startswith(f"no device of the run is left (GPU 0 ({A}): the command ended with")
    assert [model.phase.value for model in stopped.models] == ["queued", "queued"]
    monkeypatch.setenv("MACHINE_GPUS", json.dumps([None, [80, 0]]))
    forge("resume", run, "--no-ui")
    assert places(run) == [A, B, B]
    with client.attach(run) as attached:
        assert attached.snapshot().run.state.value == "completed"


@pytest.mark.usefixtures("gpus")
def test_a_gpu_is_lost_then_the_runner_killed_and_a_resume_finds_the_gpus_that_are_there_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waits.py").write_text(WAITS, encoding="utf-8")
    figures, run = tmp_path / "gpus.json", tmp_path / "run"
    figures.write_text("[[80, 0], [80, 0]]")
    monkeypatch.setenv("MACHINE_GPUS", str(figures))
    started = begin("--no-ui", "--models", "2", "--policy", "dedicated", "--mode", "parallel", "--workers", "2",
                    "--cpus-per-model", "1", "--output", run, "--", sys.executable, "waits.py", "{seed}",
                    cwd=tmp_path)  # fmt: skip
    wait_until(lambda: (run / "run.db").exists() and sorted(places(run)[:2]) == [A, B], "a model on each GPU")
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps([[80, 0], [80, 0, {"problem": "it has fallen off the bus"}]]))
    changed.replace(figures)
    (failed,) = wait_until(lambda: recorded(run, "model_failed"), "the loss of a GPU")
    assert (failed["kind"], failed["will_retry"]) == ("device_lost", True)
    kill_all(processes_of(run, "runner"))
    started.communicate()
    wait_until(lambda: has_ended(run), "the end of the workers")
    before = len(places(run))
    figures.write_text("[null, [80, 0]]")
    (tmp_path / "go").touch()
    forge("resume", run, "--no-ui", cwd=tmp_path)
    assert places(run)[before:] == [B, B]
    assert {event["device"] for event in recorded(run, "model_started")} == {"cuda"}
    with client.attach(run) as attached:
        assert attached.snapshot().run.state.value == "completed"
