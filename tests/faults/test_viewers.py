"""Viewers that are stopped, many, or on a read-only copy: the run ends as if nobody looked."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import SMALL, begin, epochs_of, forge, has_ended, processes_of, wait_until, weights
from storm_checks import losses, told

ARGUMENTS = (*SMALL, "--no-ui", "--models", "2", "--epochs", "60", "--checkpoint-interval", "10")
# Looks as our viewers do, and never lets go: at its "ready" it is in a read transaction.
HOLDS_ON = """
import sqlite3, sys, time
database = sqlite3.connect(f"file:{sys.argv[1]}/run.db?mode=ro", uri=True, isolation_level=None)
database.execute("BEGIN")
database.execute("SELECT count(*) FROM epochs").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    forge(*ARGUMENTS, "--output", directory)
    return directory


@pytest.fixture
def viewers() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes to be ended, stopped ones too."""
    begun: list[subprocess.Popen[str]] = []
    yield begun
    for viewer in begun:
        viewer.kill()
        viewer.communicate()


def holds_on(run: Path) -> subprocess.Popen[str]:
    """A viewer that is stopped in the middle of a read transaction."""
    viewer = subprocess.Popen(
        [sys.executable, "-c", HOLDS_ON, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert viewer.stdout is not None
    assert viewer.stdout.readline() == "ready\n"
    viewer.send_signal(signal.SIGSTOP)
    return viewer


def test_the_run_ends_while_ten_viewers_are_stopped(
    run_directory: Path, undisturbed: Path, viewers: list[subprocess.Popen[str]]
) -> None:
    forge(*ARGUMENTS, "--detach", "--output", run_directory)
    wait_until(lambda: epochs_of(run_directory) >= 1, "an epoch")
    viewers += [holds_on(run_directory) for _ in range(2)]
    ours = [begin("logs", "-f", run_directory) if number % 2 else begin("wait", run_directory) for number in range(8)]
    viewers += ours
    chosen = random.Random(7)
    for viewer in chosen.sample(ours, len(ours)):
        before = epochs_of(run_directory)
        wait_until(lambda before=before: epochs_of(run_directory) != before or _ended(run_directory), "the next epoch")
        viewer.send_signal(signal.SIGSTOP)

    forge("wait", run_directory)
    assert weights(run_directory) == weights(undisturbed)
    assert losses(run_directory) == losses(undisturbed)
    for viewer in ours:
        viewer.send_signal(signal.SIGCONT)
    assert [viewer.wait() for viewer in ours] == [0] * len(ours)


def test_a_viewer_stopped_in_a_read_holds_up_no_resume(
    run_directory: Path, viewers: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    forge(*ARGUMENTS, "--output", run_directory)
    viewers.append(holds_on(run_directory))
    forge("resume", run_directory, "--epochs", "70")
    forge(*ARGUMENTS, "--epochs", "70", "--output", tmp_path / "at once")
    assert weights(run_directory) == weights(tmp_path / "at once")
    assert losses(run_directory) == losses(tmp_path / "at once")


def test_a_run_that_died_under_a_stopped_viewer_is_resumed(
    run_directory: Path, undisturbed: Path, viewers: list[subprocess.Popen[str]]
) -> None:
    forge(*ARGUMENTS, "--detach", "--output", run_directory)
    wait_until(lambda: epochs_of(run_directory) >= 12, "twelve epochs")
    viewers.append(holds_on(run_directory))
    processes_of(run_directory, "runner")[0].kill()
    wait_until(lambda: has_ended(run_directory), "the end of the workers")
    viewers.append(holds_on(run_directory))
    assert told("status", run_directory)[0] == 0
    forge("resume", run_directory)
    assert weights(run_directory) == weights(undisturbed)
    assert losses(run_directory) == losses(undisturbed)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A second, read-only way to the run in `tmp_path/run`."""
    (tmp_path / "run").mkdir()
    there = tmp_path / "read-only"
    there.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", tmp_path / "run", there], check=False).returncode != 0:
        pytest.skip("a read-only mount can be made by root only, and not in every container")
    subprocess.run(["mount", "-o", "remount,ro,bind", there], check=True)
    yield there
    subprocess.run(["umount", there], check=True)


def test_a_live_run_is_viewed_through_a_read_only_mount(read_only: Path, undisturbed: Path) -> None:
    run = read_only.with_name("run")
    forge(*ARGUMENTS, "--detach", "--output", run)
    wait_until(lambda: epochs_of(read_only) >= 5, "five epochs, seen through the mount")
    status, out, err = told("status", read_only)
    assert (status, err) == (0, "")
    assert "running" in out
    assert forge("wait", read_only).stderr == "run run completed\n"
    assert told("report", read_only, "--format", "csv")[1].count("\n") == 1 + 2 * 60
    assert losses(read_only) == losses(undisturbed)
    assert forge("stop", read_only, status=4).stderr
    assert weights(run) == weights(undisturbed)


def test_a_read_only_copy_of_a_run_that_died_shows_it_all(read_only: Path) -> None:
    run = read_only.with_name("run")
    forge(*ARGUMENTS, "--detach", "--output", run.with_name("live"))
    live = run.with_name("live")
    wait_until(lambda: epochs_of(live) >= 12, "twelve epochs")
    processes_of(live, "runner")[0].kill()
    wait_until(lambda: has_ended(live), "the end of the workers")
    shutil.copytree(live, run, dirs_exist_ok=True)
    assert losses(read_only) == losses(live)
    status, out, err = told("status", read_only)
    assert (status, err.startswith("its runner was killed or the machine went down; to continue:")) == (0, True)
    assert "died" in out
    done = forge("resume", read_only, status=4)
    assert "read-only" in done.stderr.lower()


def _ended(run: Path) -> bool:
    return "completed" in told("status", run)[1]
