"""A disk that is full or takes no new files: the run goes on and loses nothing, or stops with its reason."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from disks import SmallDisk, read_only, small_disk
from faulty import environment, planner
from running import SMALL, epochs_of, forge, has_ended, kill_all, processes_of, wait_until, weights

from forge_tui.client.run import Run

EPOCHS = 60
PACE = {"do": "pace", "seconds": 0.15, "epoch": 1}
# A model takes more than the few 100 kB that the database gives back of its log after a write that failed.
ARGUMENTS = (
    "--no-ui", "--epochs", str(EPOCHS), "--checkpoint-interval", "5", "--models", "1", *SMALL,
    "--model-size", "200000",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    base = tmp_path_factory.mktemp("disk")
    with environment(base):
        forge(*ARGUMENTS, "--output", base / "run")
    return weights(base / "run")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 16) as disk:
        yield disk
        kill_all(processes_of(disk.path / "run"))


def start(directory: Path, *arguments: str) -> psutil.Process:
    """A run of slow epochs that is under way; returns its worker. Its phases are in `told` beside its directory."""
    with environment(told_by(directory).parent, {1: {**PACE, "tell": str(told_by(directory))}}):
        forge(*ARGUMENTS, *arguments, "--detach", "--output", directory)
    wait_until(lambda: epochs_of(directory) >= 6, "the first checkpoint")
    return processes_of(directory, "cognate")[0]


def told_by(directory: Path) -> Path:
    """Where the worker tells its phases and checkpoints: on another disk than the run's."""
    return (directory.parent if directory.parent.name != "disk" else directory.parents[1]) / "told"


def times(directory: Path, line: str) -> int:
    """How often the worker told something, by the beginning of the line."""
    return sum(told.startswith(line) for told in told_by(directory).read_text(encoding="utf-8").splitlines())


def checkpoints_begun(directory: Path) -> int:
    return told_by(directory).read_text(encoding="utf-8").splitlines().count("checkpoint")


def wait_for_checkpoints(directory: Path, count: int) -> None:
    """Wait until so many more have been begun."""
    before = checkpoints_begun(directory)
    wait_until(lambda: checkpoints_begun(directory) >= before + count, "checkpoints")


def wait_for_the_end(directory: Path) -> None:
    """Wait until the worker is done but for its files."""
    wait_until(lambda: times(directory, "saving waits for the disk"), "the last epoch")


def all_events(directory: Path) -> list[dict[str, Any]]:
    with Run(directory) as run:
        return [record for _, record in run.events()]


def warnings(directory: Path) -> list[str]:
    return [
        record["message"]
        for record in all_events(directory)
        if record["event"] == "resource_warning" and record["kind"] == "disk"
    ]


def assert_complete(directory: Path, undisturbed: dict[str, bytes]) -> None:
    forge("wait", directory)
    assert weights(directory) == undisturbed
    epochs = [record["epoch"] for record in all_events(directory) if record["event"] == "epoch_finished"]
    assert epochs == list(range(1, EPOCHS + 1))


def test_disk_that_fills_while_training_and_at_the_end_is_waited_for(
    disk: SmallDisk, undisturbed: dict[str, bytes]
) -> None:
    directory = disk.path / "run"
    start(directory)
    disk.fill(leave=4 << 20)
    wait_until(lambda: any("are left on the disk of" in told for told in warnings(directory)), "the alert")
    disk.fill()
    wait_for_checkpoints(directory, 3)  # two at least have failed
    assert "cognate_planner_1" in forge("status", directory).stdout
    disk.clear()
    wait_until(lambda: any("has no checkpoint at epoch" in told for told in warnings(directory)), "the warning")
    told = next(told for told in warnings(directory) if "has no checkpoint" in told)
    assert "No space left on device; free some space on that disk; training continues; the next" in told
    disk.fill()
    wait_for_the_end(directory)
    assert not weights(directory)
    forge("status", directory)
    forge("report", directory)
    disk.clear()
    assert_complete(directory, undisturbed)
    assert any("is trained and waits to be written" in told for told in warnings(directory))


def test_stop_by_signal_while_the_disk_is_full_ends_with_its_reason_and_resumes(
    disk: SmallDisk, undisturbed: dict[str, bytes]
) -> None:
    directory = disk.path / "run"
    worker = start(directory)
    (runner,) = processes_of(directory, "runner")
    all_of_it = processes_of(directory)
    for process in all_of_it:
        process.suspend()  # what it gives back of the disk meanwhile would do for the command
    disk.fill()
    refused = forge("stop", directory, status=4)
    for process in all_of_it:
        process.resume()
    assert "No space left on device; free some space on that disk" in refused.stderr
    runner.send_signal(signal.SIGTERM)
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "the worker to end")
    disk.clear()
    wait_until(lambda: has_ended(directory), "the runner to end")
    status = json.loads(forge("status", directory, "--json").stdout)
    assert status["state"] == "stopped"
    assert any("it stops without one" in told for told in warnings(directory))
    forge("resume", directory, "--no-ui")
    assert weights(directory) == undisturbed


def test_full_disk_refuses_a_start_and_leaves_nothing(disk: SmallDisk) -> None:
    disk.fill()
    refused = forge(*ARGUMENTS, "--output", disk.path / "run", status=4)
    assert "No space left on device" in refused.stderr
    assert [path.name for path in disk.path.iterdir()] == ["filler"]


def test_killed_run_is_read_and_not_called_damaged_on_a_full_disk(
    disk: SmallDisk, undisturbed: dict[str, bytes]
) -> None:
    directory = disk.path / "run"
    start(directory)
    kill_all(processes_of(directory))
    wait_until(lambda: has_ended(directory), "the end of all processes")
    (directory / "run.db-shm").unlink()  # SQLite makes it anew to read, which takes 32 KiB
    disk.fill()
    status = json.loads(forge("status", directory, "--json").stdout)
    assert status["state"] == "died"
    assert status["models"][0]["epoch"] >= 6
    refused = forge("resume", directory, status=4).stderr
    assert "free some space" in refused or "see that its disk has space and works" in refused
    assert "damaged" not in refused
    disk.clear()
    forge("resume", directory)
    assert weights(directory) == undisturbed


def test_directory_that_becomes_read_only_is_waited_for(run_directory: Path, undisturbed: dict[str, bytes]) -> None:
    start(run_directory)
    with read_only(run_directory, run_directory / "checkpoints" / planner(1), run_directory / "commands"):
        wait_until(lambda: any("has no checkpoint at epoch" in told for told in warnings(run_directory)), "the warning")
        assert "you may not write there" in forge("stop", run_directory, status=4).stderr
        wait_for_the_end(run_directory)
        assert not weights(run_directory)
    assert_complete(run_directory, undisturbed)
