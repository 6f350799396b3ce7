"""What the worker of a command and a program that reports import: neither needs torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import forge_tui
from forge_tui.errors import TrialError
from forge_tui.protocol import trial_channel
from forge_tui.protocol.job import Job

HEAVY = ("torch", "numpy", "textual", "pydantic")


def imported(code: str) -> set[str]:
    """The modules that a fresh process has after this code."""
    shown = f"import sys\n{code}\nprint(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))


def test_the_worker_of_a_command_has_no_torch() -> None:
    code = "from forge_tui.worker import fork_server; from forge_tui.settings.replacement import Trains"
    found = imported(f"{code}\nfork_server._preload(Trains.COMMAND)")
    assert "forge_tui.worker.command_worker" in found
    assert not found.intersection(HEAVY)


WORKER = """
import json, os, socket, sys
from forge_tui.settings.replacement import Trains
from forge_tui.worker import fork_server
fork_server._preload(Trains.COMMAND)
before = set(sys.modules)
from forge_tui.protocol.wire import encode_line
from forge_tui.worker import command_worker
ours, theirs = socket.socketpair()
job = json.loads(sys.argv[1])
answer = {"command": "published", "index": job["index"], "refused": None, "errno": None}
if not os.fork():
    # As the runner does when it is asked to give the model's file its name.
    while b'"result"' not in ours.recv(1 << 16): pass
    ours.sendall(encode_line(answer))
    ours.recv(1 << 16)
    os._exit(0)
os.setpgid(0, 0)  # as the fork server does
status = command_worker.main(theirs, {"kind": "train", "jobs": [job]}, os.getppid())
print(json.dumps([status, sorted(set(sys.modules) - before)]))
"""


def test_the_worker_of_a_command_imports_nothing_that_the_fork_server_has_not_imported(
    make_job: Callable[..., Job],
) -> None:
    program = """echo '{"loss": 1}'; echo '{"loss": 2}' >> $FORGE_TRIAL_CHANNEL"""
    job = make_job(training={"epochs": None}, run={"command": ["sh", "-c", program], "parse": "json"})
    done = subprocess.run(
        [sys.executable, "-c", WORKER, json.dumps(job.to_record())], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]


def test_a_report_outside_a_run_imports_nothing_of_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(trial_channel.CHANNEL, raising=False)
    found = imported("import forge_tui; forge_tui.report(loss=1)")
    assert {name for name in found if name.startswith("forge_tui")} == {
        "forge_tui", "forge_tui.protocol", "forge_tui.protocol.trial_channel",
    }  # fmt: skip


def test_a_report_is_a_line_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "reports"
    file.touch()
    monkeypatch.setenv(trial_channel.CHANNEL, str(file))
    forge_tui.report({"val/f1": 0.5}, loss=2, epoch=3, step=7, goal={"val/f1": "higher"})
    forge_tui.report(loss=float("nan"))
    first, second = file.read_text().splitlines()
    assert json.loads(first) == {"val/f1": 0.5, "loss": 2.0, "goal": {"val/f1": "higher"}, "epoch": 3, "step": 7}
    assert second == '{"loss": NaN}'
    for wrong in ({"loss": "low"}, {"x": [1]}, {"": 1}):
        with pytest.raises(TrialError):
            forge_tui.report(wrong)
    with pytest.raises(TrialError, match="epoch must be a whole number"):
        forge_tui.report(loss=1, epoch=0)
    assert len(file.read_text().splitlines()) == 2
    os.unlink(file)
    with pytest.raises(FileNotFoundError):
        forge_tui.report(loss=1)


def test_in_a_training_function_it_is_the_trial_that_reports() -> None:
    taken: list[tuple[object, ...]] = []
    with trial_channel.reports_go_to(lambda *given, **more: taken.append((*given, more))):
        forge_tui.report({"f1": 1}, epoch=2)
    forge_tui.report({"f1": 2}, epoch=3)
    assert taken == [({"f1": 1}, {"epoch": 2, "step": None, "goal": None})]
