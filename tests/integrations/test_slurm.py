"""Runs as jobs of a real Slurm, by the scripts of the documentation."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from custom_code import records
from running import forge
from slurm_cluster import SlurmCluster, missing, slurm_cluster

SCRIPTS = Path(__file__).parents[2] / "docs" / "slurm"
# The first attempt waits, where the file `wait` is, until it is asked to stop: every job is in the middle of its run.
LOOP = """
import time
from pathlib import Path

import torch
from torch import nn


def train(trial, rate: float = 0.1):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    points = torch.rand(64, 2)
    begun = 0
    if state := trial.restore():
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        points, begun = state["points"], state["epoch"]
    for epoch in range(begun + 1, trial.epochs + 1):
        loss = (model(points) - points.sum(dim=1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trial.report(loss=loss, epoch=epoch)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "points": points, "epoch": epoch}
        trial.checkpoint(state)
        if epoch == 5 and trial.attempt == 1 and Path("wait").exists():
            Path(f"waits-{trial.index}").touch()
            while not trial.should_stop:
                time.sleep(0.05)
    trial.save(model)
"""
GREEDY = """
import time


def train(trial):
    if trial.index == 1 and trial.attempt == 1:
        taken = bytearray(1 << 30)
        for place in range(0, len(taken), 4096):
            taken[place] = 1
    for epoch in range(1, trial.epochs + 1):
        time.sleep(0.01)
        trial.report(loss=1.0 / epoch, epoch=epoch)
"""
FLAGS = ("--train", "loop.py:train", "--models", "1", "--epochs", "20", "--threads", "1", "--seed", "3")
SMALL = ("--cpus-per-task=1", "--mem=1500M")

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PATH with the commands of this environment."""
    place = tmp_path_factory.mktemp("bin")
    for name, module in (("forge-tui", "forge_tui.__main__"), ("ray", "ray.scripts.scripts")):
        command = place / name
        command.write_text(f"#!{sys.executable}\nfrom {module} import main\nraise SystemExit(main())\n")
        command.chmod(0o755)
    return f"{place}:{os.environ['PATH']}"


@pytest.fixture(scope="module")
def slurm(path: str) -> Iterator[SlurmCluster]:
    with slurm_cluster({"PATH": path}) as cluster:
        yield cluster


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    for script in SCRIPTS.glob("*.sh"):
        shutil.copy(script, place)
    (place / "loop.py").write_text(LOOP)
    (place / "greedy.py").write_text(GREEDY)
    return place


def until(condition: Callable[[], object], slurm: SlurmCluster, project: Path, job: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        told = f"{said(project, job)}\n{slurm.run('scontrol', 'show', 'job', job)}"
        assert "JobState=FAILED" not in told, told
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


def begun(slurm: SlurmCluster, project: Path, *options: str) -> str:
    """A job in the middle of its run."""
    (project / "wait").touch()
    job = slurm.submit(*SMALL, *options, "train.sh", *FLAGS, cwd=project)
    until((project / "waits-1").exists, slurm, project, job)
    return job


def said(project: Path, job: str) -> str:
    path = project / f"slurm-{job}.out"
    return path.read_text() if path.exists() else ""


def weights(run: Path) -> bytes:
    return (run / "cognate_loop_1.safetensors").read_bytes()


def undisturbed(project: Path) -> bytes:
    (project / "wait").unlink(missing_ok=True)
    forge(*FLAGS, "--no-ui", "--output", "undisturbed", cwd=project)
    return weights(project / "undisturbed")


def test_a_preempted_job_is_queued_again_and_ends_as_if_undisturbed(slurm: SlurmCluster, project: Path) -> None:
    job = begun(slurm, project)
    other = slurm.submit("--partition=high", "--cpus-per-task=2", "--mem=3G", "--wrap=true", cwd=project)
    slurm.wait_for(other, "COMPLETED")
    assert "stopped: command from batch mode, SIGUSR1" in said(project, job)
    slurm.start_now(job)
    slurm.wait_for(job, "COMPLETED")
    run = project / "runs" / f"job-{job}"
    assert slurm.told(job, "Restarts") == "1"
    assert weights(run) == undisturbed(project)


def test_a_job_at_its_time_limit_is_queued_again_and_ends_as_if_undisturbed(slurm: SlurmCluster, project: Path) -> None:
    # Slurm may send the signal up to a minute early: at once.
    job = begun(slurm, project, "--time=2", "--signal=B:USR1@60")
    until(lambda: slurm.told(job, "Restarts") == "1", slurm, project, job)
    slurm.start_now(job)
    slurm.wait_for(job, "COMPLETED")
    run = project / "runs" / f"job-{job}"
    assert weights(run) == undisturbed(project)


def test_a_cancelled_job_leaves_a_run_that_can_be_continued(slurm: SlurmCluster, project: Path) -> None:
    job = begun(slurm, project)
    slurm.run("scancel", job)
    slurm.wait_for(job, "CANCELLED")
    run = project / "runs" / f"job-{job}"
    until(lambda: "stopped" in forge("status", run).stdout, slurm, project, job)
    assert slurm.told(job, "Restarts") == "0"
    forge("resume", run, "--no-ui", cwd=project)
    assert weights(run) == undisturbed(project)


def test_an_array_has_a_run_for_each_line_of_a_file(slurm: SlurmCluster, project: Path) -> None:
    rates = (0.1, 0.01)
    lines = [" ".join((*FLAGS, "--set", f"model.rate={rate}")) for rate in rates]
    (project / "flags.txt").write_text("\n".join(lines) + "\n")
    array = slurm.submit(*SMALL, "--array=1-2", "array.sh", "flags.txt", cwd=project)
    for task in ("1", "2"):
        slurm.wait_for(f"{array}_{task}", "COMPLETED")
    records = [json.loads(path.read_text()) for path in (project / "runs").glob("job-*/cognate_loop_1.json")]
    assert sorted(record["settings"]["model"]["rate"] for record in records) == sorted(rates)


def test_a_worker_out_of_memory_does_not_end_the_job(slurm: SlurmCluster, project: Path) -> None:
    flags = ("--train", "greedy.py:train", "--models", "2", "--epochs", "5", "--policy", "dedicated")
    job = slurm.submit("--cpus-per-task=2", "--mem=900M", "train.sh", *flags, cwd=project)
    # The run completes; Slurm calls the job so for the one process that was killed.
    slurm.wait_for(job, "OUT_OF_MEMORY")
    assert "cognate_greedy_1 failed (out_of_memory)" in said(project, job)
    assert f"run job-{job} completed" in said(project, job)
    events = forge("status", project / "runs" / f"job-{job}", "--json").stdout
    assert events.count('"completed"') >= 2


def test_the_limits_of_a_job_are_seen(slurm: SlurmCluster, project: Path) -> None:
    job = slurm.submit(*SMALL, "--wrap=forge-tui doctor", cwd=project)
    slurm.wait_for(job, "COMPLETED")
    text = said(project, job)
    assert "Slurm (SLURM_CPUS_ON_NODE=1)" in text or "1 CPU" in text
    assert "SLURM_MEM_PER_NODE=1500" in text or "1.46 GiB" in text, text


def test_the_nodes_of_a_job_train_together_and_those_of_the_next_continue(path: str, project: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    # Ray takes 127.0.0.1 for the machine's own address, and its nodes need different ones.
    here = Path(path.partition(":")[0]) / "hostname"
    here.write_text("#!/bin/sh\necho 127.0.0.$((${SLURMD_NODENAME##*-} + 1)) 192.0.2.7\n")
    here.chmod(0o755)
    flags = (*FLAGS, "--models", "2", "--policy", "dedicated", "--mode", "parallel", "--workers", "2")
    (project / "wait").touch()
    with slurm_cluster({"PATH": path}, nodes=2) as slurm:
        job = slurm.submit(*SMALL, "--nodes=2", "ray.sh", *flags, "--set", "engine.files=shared", cwd=project)
        until(lambda: all((project / f"waits-{index}").exists() for index in (1, 2)), slurm, project, job)
        slurm.run("scancel", "--signal=USR1", "--batch", job)
        until(lambda: slurm.told(job, "Restarts") == "1", slurm, project, job)
        (project / "wait").unlink()
        slurm.start_now(job)
        slurm.wait_for(job, "COMPLETED")
    run = project / "runs" / f"job-{job}"
    assert {event["place"]["host"] for event in records(run, "model_started")} == set(slurm.nodes)
    forge(*flags, "--no-ui", "--output", "undisturbed", cwd=project)
    for index in (1, 2):
        name = f"cognate_loop_{index}.safetensors"
        assert (run / name).read_bytes() == (project / "undisturbed" / name).read_bytes()
