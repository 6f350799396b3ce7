"""`kill -9` of every kind of process in the middle of a run: nothing is lost, nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty import environment
from running import SMALL, begin, epochs_of, events, forge, has_ended, processes_of, wait_until, weights

ARGUMENTS = ("--no-ui", "--json", "--epochs", "40", "--checkpoint-interval", "5", "--mode", "parallel", *SMALL)
# So slow are first attempts that they are killed in their middle.
PACE = {"do": "pace", "seconds": 0.1, "epoch": 1, "attempts": 1}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The weights of the same run left alone."""
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    forge(*ARGUMENTS, "--output", directory)
    return weights(directory)


@pytest.mark.parametrize("role", ["cognate", "fork server"])
def test_killed_worker_or_fork_server_is_retried_to_the_same_bytes(
    role: str, run_directory: Path, undisturbed: dict[str, bytes]
) -> None:
    with environment(run_directory.parent, dict.fromkeys((1, 2, 3), PACE)):
        started = begin(*ARGUMENTS, "--output", run_directory)
    wait_until(lambda: epochs_of(run_directory) >= 7, "seven epochs")
    victim = processes_of(run_directory, role)[0]
    victim.kill()
    out, err = started.communicate()
    assert started.returncode == 0, err
    records = events(out)
    failed = [record for record in records if record["event"] == "model_failed"]
    assert failed
    assert all(record["kind"] == "signal" and record["will_retry"] for record in failed)
    assert [record["event"] for record in records].count("model_retried") == len(failed)
    assert weights(run_directory) == undisturbed


def test_killed_runner_is_shown_as_died_and_resumes_to_the_same_bytes(
    run_directory: Path, undisturbed: dict[str, bytes]
) -> None:
    with environment(run_directory.parent, dict.fromkeys((1, 2, 3), PACE)):
        started = begin(*ARGUMENTS, "--output", run_directory)
    wait_until(lambda: epochs_of(run_directory) >= 7, "seven epochs")
    (runner,) = processes_of(run_directory, "runner")
    runner.kill()
    _out, err = started.communicate()
    assert started.returncode == 1
    assert "died" in err
    wait_until(lambda: has_ended(run_directory), "the workers end with their runner", 10.0)
    assert "died" in forge("status", run_directory).stdout
    forge("resume", run_directory)
    assert weights(run_directory) == undisturbed


def test_models_that_always_die_fail_after_their_retries(run_directory: Path) -> None:
    started = begin(
        "--no-ui", "--json", "--epochs", "100000000", "--models", "1", "--checkpoint-interval", "100000000",
        "--max-retries", "1", *SMALL, "--output", run_directory,
    )  # fmt: skip
    wait_until(lambda: epochs_of(run_directory) >= 1, "an epoch")
    killed: set[int] = set()
    for _ in range(2):
        worker = wait_until(
            lambda: [process for process in processes_of(run_directory, "cognate") if process.pid not in killed],
            "a worker",
        )[0]
        killed.add(worker.pid)
        worker.kill()
    out, err = started.communicate()
    assert started.returncode == 1
    failed = [record for record in events(out) if record["event"] == "model_failed"]
    assert [record["will_retry"] for record in failed] == [True, False]
    assert "SIGKILL" in err
