"""A runner that is killed before its run's first epoch leaves words: what happened, and what to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from faulty import environment, left_behind
from running import SMALL, begin, epochs_of, forge, has_ended, processes_of, wait_until, weights

from forge_tui.runs import registry
from forge_tui.runs.layout import RunDirectory

pytestmark = pytest.mark.usefixtures("from_scratch")  # importing is when most starts are killed
ARGUMENTS = ("--no-ui", "--epochs", "2", "--models", "1", *SMALL)
LOOKING = (("status",), ("status", "--json"), ("resume",), ("logs",), ("wait",), ("report",), ("stop",))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A start that was killed while its data was read; no other run on this machine has its name."""
    directory = tmp_path / f"killed-{os.getpid()}"
    data = tmp_path / "data.py"
    data.write_text(
        "import pathlib, time\n"
        "def dataset(seed, samples):\n"
        f"    pathlib.Path({str(tmp_path / 'reads')!r}).touch()\n"
        "    time.sleep(100_000)\n"
    )
    with environment(tmp_path):
        front = begin(*ARGUMENTS, "--dataset", data, "--output", directory)
        wait_until((tmp_path / "reads").exists, "the data is read")
        started = processes_of(directory)
        told = forge("status", directory, status=4).stderr
        assert f"a run is being started in {directory}: data and model are being read" in told
        assert [(run["run"], run["status"]) for run in json.loads(forge("runs", "--json").stdout)] == [
            (directory.name, "starting")
        ]
        (runner,) = processes_of(directory, "runner")
        runner.kill()
        _out, err = front.communicate()
        assert front.returncode == 1
        assert "the runner was killed by SIGKILL before the run began" in err
        wait_until(lambda: not any(map(_is_live, started)), "its processes to end", 20.0)
        yield directory
    assert left_behind(directory) == []


def _is_live(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_every_command_says_what_happened_and_what_to_do(directory: Path) -> None:
    for which in (directory, directory.name):
        for command, *options in LOOKING:
            told = forge(command, which, *options, status=4).stderr
            assert f"a start in {directory} was killed before its run began, and nothing was trained" in told, command
            assert f"give the same command again, or remove its files with `forge-tui rm {directory}`" in told
    assert "was killed before its run began" in forge("status", status=4).stderr
    listed = forge("runs")
    assert listed.stdout.splitlines()[1].split()[:2] == [directory.name, "killed"]
    assert f"a start in {directory} was killed" in listed.stderr


def test_the_same_command_begins_there_anew(directory: Path) -> None:
    forge(*ARGUMENTS, "--output", directory)
    assert len(weights(directory)) == 1
    assert not RunDirectory(directory).starting_log.exists()
    assert [(run.run, run.status) for run in registry.known()] == [(directory.name, "completed")]


def test_a_start_that_is_refused_leaves_the_list_as_it_was(tmp_path: Path) -> None:
    forge(*ARGUMENTS, "--dataset", tmp_path / "nowhere.csv", "--output", tmp_path / "run", status=2)
    assert registry.known() == []
    assert not (tmp_path / "run").exists()


def test_a_run_whose_runner_is_killed_before_the_first_epoch_says_so_and_is_resumed(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with environment(tmp_path, {1: {"do": "sleep", "epoch": 1}}):
        front = begin(*ARGUMENTS, "--output", directory)
        wait_until(lambda: processes_of(directory, "cognate"), "a worker")
        (runner,) = processes_of(directory, "runner")
        runner.send_signal(signal.SIGKILL)
        _out, err = front.communicate()
    assert front.returncode == 1
    why = "its runner was killed or the machine went down before the first epoch"
    assert f"run run died: {why}" in err
    with environment(tmp_path):
        wait_until(lambda: has_ended(directory), "the worker to end", 20.0)
        told = forge("status", directory)
        assert told.stdout.startswith("run died 0%")
        assert f"{why}; to continue: forge-tui resume run" in told.stderr
        assert f"run run died: {why}" in forge("wait", directory, status=1).stderr
        forge("resume", "run", "--no-ui")
    assert epochs_of(directory) == 2


SERVER = """
import os, socket, subprocess, sys, time
ours, theirs = socket.socketpair()
with open(os.devnull) as lock:
    server = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "forge_tui.worker.fork_server"),
            *(str(theirs.fileno()), str(lock.fileno()), "0", "model"),
        ],
        pass_fds=(theirs.fileno(), lock.fileno()),
    )
theirs.close()
print(server.pid, flush=True)
time.sleep(100_000)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="elsewhere it is seen when the imports are done")
def test_a_fork_server_ends_with_its_runner_while_it_imports(tmp_path: Path) -> None:
    runner = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    server = psutil.Process(int(runner.stdout.readline()))
    maps = Path(f"/proc/{server.pid}/maps")
    wait_until(lambda: "libtorch" in maps.read_text(), "its imports")
    server.suspend()  # however long they take
    runner.kill()
    runner.communicate()
    wait_until(lambda: not _is_live(server), "its end", 20.0)
