"""What batch systems do before they end a job: the run checkpoints, stops, and goes on later to the same bytes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from depth import deep
from faulty import environment
from running import SMALL, begin, epochs_of, forge, processes_of, wait_until, weights

from forge_tui.client.run import Run

ARGUMENTS = (
    "--no-ui", "--epochs", "40", "--models", "2", "--mode", "parallel", "--checkpoint-interval", "100", *SMALL,
)  # fmt: skip
PACE = {"do": "pace", "seconds": 0.15, "epoch": 1}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    base = tmp_path_factory.mktemp("signals")
    with environment(base):
        forge(*ARGUMENTS, "--output", base / "run")
    return weights(base / "run")


@pytest.mark.parametrize(
    ("signum", "whom"),
    [
        (signal.SIGXCPU, "front end"),
        (signal.SIGTERM, "runner"),
        deep(signal.SIGUSR2, "all"),
        (signal.SIGTERM, "all"),
    ],
)
def test_signal_checkpoints_and_stops_and_resume_gives_the_same_bytes(
    signum: signal.Signals, whom: str, run_directory: Path, undisturbed: dict[str, bytes]
) -> None:
    with environment(run_directory.parent, dict.fromkeys((1, 2), PACE)):
        started = begin(*ARGUMENTS, "--output", run_directory)
    wait_until(lambda: min(epochs_of(run_directory, 1), epochs_of(run_directory, 2)) >= 2, "two epochs of both")
    if whom == "front end":
        started.send_signal(signum)
    elif whom == "runner":
        processes_of(run_directory, "runner")[0].send_signal(signum)
    else:
        for pid in [process.pid for process in processes_of(run_directory)] + [started.pid]:
            os.kill(pid, signum)
    _out, err = started.communicate()
    assert started.returncode == (1 if whom == "runner" else 128 + signum)
    assert f"forge-tui resume {run_directory}" in err
    with Run(run_directory) as run:
        snapshot = run.snapshot()
        assert all(record["event"] != "model_failed" for _, record in run.events())
    assert snapshot.state.value == "stopped"
    assert all(model.failures == () and model.checkpoint_epoch >= 2 for model in snapshot.models)
    assert not processes_of(run_directory)
    forge("resume", run_directory, "--no-ui")
    assert weights(run_directory) == undisturbed
