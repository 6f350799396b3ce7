"""Runs on real Ray nodes: the bytes of a local run, whatever happens to a node, to files or to the runner."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")

from custom_code import records
from ray_nodes import RayNodes
from running import SMALL, begin, forge, wait_until, weights

MODELS = 12
RUN = (
    "--no-ui", "--mode", "parallel", "--workers", "2", "--epochs", "60", "--checkpoint-interval", "5", "--target", "y",
    *SMALL,
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayNodes]:
    with contextlib.closing(RayNodes()) as nodes, pytest.MonkeyPatch.context() as patch:
        for name, value in nodes.environment.items():
            patch.setenv(name, value)
        yield nodes


@pytest.fixture
def nodes(cluster: RayNodes) -> RayNodes:
    """Two nodes of one CPU each, `a` and `b`."""
    cluster.add("b")
    return cluster


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(7)
    path = tmp_path_factory.mktemp("data") / "table.csv"
    rows = [[draw.random() for _ in range(4)] for _ in range(2_000)]
    lines = ["a,b,c,d,y", *(",".join([*map(str, row), str(int(sum(row) > 2))]) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def undisturbed(table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """SHA-256 of the weights of a local run, by file."""
    run = tmp_path_factory.mktemp("local") / "run"
    forge(*RUN, "--models", str(MODELS), "--dataset", table, "--output", run)
    return digests(run)


def digests(run: Path) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in weights(run).items()}


def on(nodes: RayNodes, table: Path, run: Path, *more: str) -> tuple[str | Path, ...]:
    where = ("--engine", "ray", "--address", nodes.address)
    return (*RUN, *where, "--models", str(MODELS), "--dataset", table, "--output", run, *more)


def happened(run: Path, event: str, **values: Any) -> list[dict[str, Any]]:
    """The events so far; none while there is no run."""
    return records(run, event, **values) if (run / "run.db").exists() else []


def has_begun_on(run: Path, host: str) -> str | None:
    """A model that trains on a node and has saved a checkpoint there."""
    there = {
        (one["model"], one["attempt"]) for one in happened(run, "model_started") if (one["place"] or {})["host"] == host
    }
    done = {one["model"] for one in happened(run, "model_completed")}
    saved = {(one["model"], one["attempt"]) for one in happened(run, "checkpoint_saved")}
    return next((model for model, attempt in sorted(there & saved) if model not in done), None)


def leftovers(run: Path) -> list[str]:
    """The titles of processes that belong to a run, on any node."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline())
            if title.startswith("forge-tui:") and f"({run.name})" in title:
                found.append(title)
    return found


@pytest.mark.parametrize("files", ["shared", "shipped"])
def test_a_killed_node_changes_no_byte(
    nodes: RayNodes, table: Path, undisturbed: dict[str, str], tmp_path: Path, files: str
) -> None:
    run = tmp_path / f"killed-{files}"
    with begin(*on(nodes, table, run, "--files", files)) as front_end:
        wait_until(lambda: has_begun_on(run, "b"), "a model on b with a checkpoint")
        nodes.kill_raylet("b")
        front_end.communicate(timeout=240)
        assert front_end.returncode == 0
    assert digests(run) == undisturbed
    failures = happened(run, "model_failed")
    assert {(one["kind"], one["will_retry"]) for one in failures} == {("node_lost", True)}
    assert re.search(r"was lost with node b \(.+\)", failures[0]["message"])
    words = [one["reason"] for one in happened(run, "decision", kind="place")]
    # By the time of the kill the model that was seen may be done, and the next one be at its beginning.
    lost = "|".join(one["model"] for one in failures)
    assert any(re.match(rf"({lost}) continues from .+ on a: .*node b", reason) for reason in words), words
    assert [path.name for path in run.glob(".*")] == []
    wait_until(lambda: not leftovers(run), "no process of the run is left")


@pytest.mark.parametrize("files", ["shared", "shipped"])
def test_a_frozen_node_that_wakes_up_later_writes_nothing_into_the_run(
    nodes: RayNodes, table: Path, undisturbed: dict[str, str], tmp_path: Path, files: str
) -> None:
    run = tmp_path / f"frozen-{files}"
    with begin(*on(nodes, table, run, "--files", files)) as front_end:
        model = wait_until(lambda: has_begun_on(run, "b"), "a model on b with a checkpoint")
        with nodes.frozen("b"):
            wait_until(lambda: happened(run, "model_failed", kind="node_lost"), "the node is given up")
            wait_until(
                lambda: [one for one in happened(run, "checkpoint_saved", model=model) if one["attempt"] == 2],
                "another attempt has saved a checkpoint",
            )
        front_end.communicate(timeout=240)
        assert front_end.returncode == 0
    assert digests(run) == undisturbed
    events = [one for one in happened(run, "epoch_finished") if one["model"] == model]
    again = next(place for place, one in enumerate(events) if one["attempt"] == 2)
    assert {one["attempt"] for one in events[again:]} == {2}
    names = [path.name for path in (run / "checkpoints" / model).iterdir()]
    assert all("attempt-2" in name for name in names), names
    wait_until(lambda: not leftovers(run), "no process of the run is left")


def test_a_run_is_resumed_on_another_number_of_nodes(
    nodes: RayNodes, table: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    run = tmp_path / "resumed"
    with begin(*on(nodes, table, run)) as front_end:
        wait_until(lambda: has_begun_on(run, "b"), "a model on b with a checkpoint")
        front_end.send_signal(signal.SIGTERM)
        front_end.communicate(timeout=120)
    assert digests(run).keys() < undisturbed.keys()
    nodes.kill_raylet("b")
    forge("resume", run, "--no-ui")
    assert digests(run) == undisturbed


def test_a_run_of_one_machine_continues_on_a_cluster(
    nodes: RayNodes, table: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    run = tmp_path / "moved"
    with begin(*RUN, "--models", str(MODELS), "--dataset", table, "--output", run) as front_end:
        wait_until(lambda: happened(run, "checkpoint_saved"), "a checkpoint")
        front_end.send_signal(signal.SIGTERM)
        front_end.communicate(timeout=120)
    forge("resume", run, "--no-ui", "--engine", "ray", "--address", nodes.address)
    assert {one["place"]["host"] for one in happened(run, "model_started")} > {"a", "b"}
    assert digests(run) == undisturbed


def test_when_the_runner_is_killed_nothing_of_it_stays_on_any_node(
    nodes: RayNodes, table: Path, tmp_path: Path
) -> None:
    run = tmp_path / "orphaned"
    with begin(*on(nodes, table, run, "--files", "shipped")) as front_end:
        wait_until(lambda: has_begun_on(run, "b"), "a model on b with a checkpoint")
        (runner,) = [one for one in psutil.process_iter() if f"forge-tui: runner {run.name}" in " ".join(_title(one))]
        runner.kill()
        front_end.communicate(timeout=60)
    wait_until(lambda: not leftovers(run), "no process of the run is left")
    wait_until(lambda: not bridges(), "the bridge has ended")


def test_a_cluster_of_its_own_listens_here_only_and_leaves_nothing(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = Path(tempfile.gettempdir())
    before = set(temporary.glob("forge-*"))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    run = tmp_path / "own"
    arguments = (*RUN, "--engine", "ray", "--models", "4", "--dataset", table, "--output", run)
    with begin(*arguments) as front_end:
        wait_until(lambda: happened(run, "model_started"), "a model has started")
        (scratch,) = set(temporary.glob("forge-ray-*")) - before
        ours = [one for one in psutil.process_iter() if str(scratch) in " ".join(_title(one))]
        listening = [
            place.laddr.ip.removeprefix("::ffff:")
            for one in ours
            for place in one.net_connections("inet")
            if place.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert set(listening) == {"127.0.0.1"}
        (runner,) = [one for one in psutil.process_iter() if f"forge-tui: runner {run.name}" in " ".join(_title(one))]
        runner.kill()
        front_end.communicate(timeout=60)
    wait_until(lambda: not scratch.exists(), "its files are removed")
    wait_until(lambda: not any(one.is_running() and _title(one) for one in ours), "its processes have ended")


def test_a_cluster_without_authentication_is_refused_unless_it_is_trusted(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(RayNodes(token=False, cpus=2)) as nodes:
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
        arguments = on(nodes, table, tmp_path / "open", "--models", "2")
        refused = forge(*arguments, status=2)
        assert f"the Ray cluster at {nodes.address} has no authentication" in refused.stderr
        assert "--trust-cluster" in refused.stderr
        assert not (tmp_path / "open").exists()
        forge(*arguments, "--trust-cluster")


def test_a_model_that_finds_no_place_is_seen_to_wait_and_takes_every_command(
    nodes: RayNodes, table: Path, tmp_path: Path
) -> None:
    run = tmp_path / "waiting"
    more = ("--threads", "2", "--models", "2", "--policy", "dedicated")
    with begin(*on(nodes, table, run, *more)) as front_end:
        reason = "waiting for a place: 2 CPUs (none of the 2 nodes has as much)"
        wait_until(lambda: [one for one in happened(run, "phase_changed") if one["reason"] == reason], "it waits")
        assert reason in forge("status", run).stdout
        for command in (("pause",), ("continue",), ("workers", "1"), ("cancel", "cognate_planner_1")):
            forge(command[0], run, *command[1:])
        wait_until(
            lambda: [one for one in happened(run, "phase_changed") if one["phase"] == "cancelled"], "it is cancelled"
        )
        forge("stop", run)
        front_end.communicate(timeout=60)
    assert happened(run, "run_finished")[-1]["status"] == "stopped"


WAITS = r"""
import json, os, pathlib, sys, time
import forge_tui

place = pathlib.Path(os.environ["FORGE_TRIAL_DIRECTORY"])
(place / "sees").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
forge_tui.report({}, loss=0.5, epoch=1)
while not pathlib.Path("go").exists():
    time.sleep(0.02)
"""
ON_B, ON_C, FULL = "GPU-0000000b", "GPU-0000000c", "GPU-000000cc"


def test_models_get_gpus_of_the_nodes_and_continue_on_another_when_theirs_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waits.py").write_text(WAITS, encoding="utf-8")
    run = tmp_path / "gpus"
    with contextlib.closing(RayNodes(cpus=2)) as nodes:
        nodes.add("b", gpus=[[80, 0, {"uuid": ON_B}]])
        nodes.add("c", gpus=[[80, 79, {"uuid": FULL}], [80, 0, {"uuid": ON_C}]])
        for name, value in nodes.environment.items():
            monkeypatch.setenv(name, value)
        arguments = ("--no-ui", "--models", "2", "--policy", "dedicated", "--mode", "parallel", "--workers", "2",
                     "--cpus-per-model", "1", "--engine", "ray", "--address", nodes.address, "--output", run, "--",
                     sys.executable, "waits.py", "{seed}")  # fmt: skip
        with begin(*arguments, cwd=tmp_path) as front_end:
            wait_until(lambda: placed(run) == {("b", ON_B), ("c", ON_C)}, "a model on each node")
            nodes.kill_raylet("c")
            again = wait_until(lambda: happened(run, "model_started")[2:], "the model of c starts again")
            (tmp_path / "go").touch()
            front_end.communicate(timeout=240)
            assert front_end.returncode == 0
    assert again[0]["place"] == {"host": "b", "device": ON_B}
    assert [(one["kind"], one["will_retry"]) for one in happened(run, "model_failed")] == [("node_lost", True)]
    assert {one["device"] for one in happened(run, "model_started")} == {"cuda"}
    assert {file.read_text() for file in run.glob("checkpoints/*/files/sees")} == {ON_B}
    (chosen, *_) = [one["reason"] for one in happened(run, "decision", kind="place")]
    assert chosen == "3 GPUs: Pretended on b, 2 × Pretended on c; not on a: no GPU was found"
    wait_until(lambda: not leftovers(run), "no process of the run is left")


def placed(run: Path) -> set[tuple[str, str]]:
    """Node and GPU of all starts so far."""
    return {(one["place"]["host"], one["place"]["device"]) for one in happened(run, "model_started")}


def bridges() -> list[psutil.Process]:
    return [one for one in psutil.process_iter() if _title(one)[:1] == ["forge-tui: Ray bridge"]]


def _title(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []
