"""The directory of a live run moves or goes away: the run ends with the reason, and makes nothing at the old path."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from depth import deep
from faulty import environment
from run_directories import RunMaker
from running import SMALL, begin, epochs_of, events, forge, has_ended, kill_all, processes_of, wait_until, weights

from forge_tui.client.run import Run
from forge_tui.errors import RunGone
from forge_tui.protocol.phases import RunState
from forge_tui.runs import registry

EPOCHS = 100
PACE = {"do": "pace", "seconds": 0.1, "epoch": 1}
ARGUMENTS = (
    "--no-ui", "--json", "--epochs", str(EPOCHS), "--checkpoint-interval", "2", "--models", "2", "--mode", "parallel",
    "--workers", "2", *SMALL,
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    base = tmp_path_factory.mktemp("undisturbed")
    with environment(base):
        forge(*ARGUMENTS, "--output", base / "run")
    return weights(base / "run")


class Live:
    """A run of two workers under way, with its batch front end and all its processes."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.directory = base / "parent" / "run"
        self.directory.parent.mkdir()
        with environment(base, {1: PACE, 2: PACE}):
            self.front = begin(*ARGUMENTS, "--output", self.directory)
        wait_until(lambda: epochs_of(self.directory, 1) >= 4 and epochs_of(self.directory, 2) >= 4, "checkpoints")
        self.processes = processes_of(self.directory)
        assert len(self.processes) == 4, "runner, fork server and two workers"

    def ends(self) -> tuple[str, str]:
        """Wait until all of it has ended; what the front end has said."""
        out, err = self.front.communicate()
        assert self.front.returncode == 1, err
        wait_until(lambda: not any(map(is_live, self.processes)), "all processes of the run to end", 20.0)
        return out, err


def is_live(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path)
    yield made
    kill_all(process for process in made.processes if is_live(process))


def files_in(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize("what", ["moved", deep("parent"), "another"])
def test_a_moved_run_stops_after_a_checkpoint_and_is_resumed_where_it_is(
    what: str, live: Live, undisturbed: dict[str, bytes]
) -> None:
    old, watching = live.directory, Run(live.directory)
    before = watching.snapshot()
    following = watching.follow(0.1)
    next(following)
    new = live.base / "elsewhere"
    if what == "parent":
        os.rename(old.parent, new)
        new = new / "run"
    else:
        os.rename(old, new)
    if what == "another":
        old.mkdir()
        (old / "mine").write_text("mine")
        # As if it were another run, which knows nothing of what this one is writing.
        shutil.copytree(new / "checkpoints", old / "checkpoints", ignore=shutil.ignore_patterns(".*"))
    mine = files_in(old)
    out, err = live.ends()

    assert (files_in(old), old.exists()) == (mine, what == "another")
    reason = f"its directory {old} was moved to {new} while the run was live"
    assert f"run run: its directory {old} was moved or deleted" in err
    assert f"stopped: {reason}" in err
    assert f"forge-tui resume {new}" in err
    assert [record["status"] for record in events(out) if record["event"] == "run_finished"] == ["stopped"]

    # Whoever has watched it is told, and waits no longer.
    with pytest.raises(RunGone, match="was moved or deleted"):
        watching.wait()
    assert (before.state, next(following).state) == (RunState.RUNNING, RunState.DIED)
    with pytest.raises(RunGone, match="was moved or deleted"):
        next(following)
    watching.close()

    with environment(live.base):
        status = json.loads(forge("status", new, "--json").stdout)
        assert (status["state"], status["path"]) == ("stopped", str(new))
        assert status["reason"].startswith(reason)
        assert {model["phase"] for model in status["models"]} == {"queued"}
        # Nothing that was trained is lost: each was saved at the step at which it stopped.
        assert all(model["checkpoint_epoch"] >= model["epoch"] for model in status["models"])
        assert [str(run.path) for run in registry.known()] == [str(new)]
        assert not list(new.glob("run.db-*"))
        forge("resume", new, "--no-ui")
        assert weights(new) == undisturbed
        assert [(run.path, run.status) for run in registry.known()] == [(new, "completed")]
    assert files_in(old) == mine


@pytest.mark.parametrize("again", [False, deep(True)])
def test_a_deleted_run_ends_at_once_and_says_so(again: bool, live: Live) -> None:
    directory = live.directory
    wait_until(lambda: subprocess.run(["rm", "-rf", directory], check=False).returncode == 0, "rm -rf")
    if again:
        directory.mkdir()
    _out, err = live.ends()
    assert directory.exists() == again
    assert files_in(directory.parent) == (["run"] if again else [])
    assert re.search(r"run run: .* was (moved or )?deleted", err)
    # Where rm had deleted run.db first, that is what was seen.
    assert "was deleted while the run was live" in err or "run.db was deleted or replaced while the run was live" in err
    with environment(live.base):
        assert registry.known() == []


def test_a_run_whose_records_are_deleted_ends_and_writes_no_more(live: Live) -> None:
    directory = live.directory
    for path in directory.glob("run.db*"):
        path.unlink()
    _out, err = live.ends()
    assert "its run.db was deleted or replaced while the run was live" in err
    assert not list(directory.glob("run.db*"))


def test_a_run_whose_lock_is_deleted_stops_before_another_begins_there(live: Live) -> None:
    directory = live.directory
    (directory / "lock").unlink()
    _out, err = live.ends()
    assert "stopped: its lock was deleted or replaced while the run was live" in err
    with environment(live.base):
        assert json.loads(forge("status", directory, "--json").stdout)["state"] == "stopped"


def test_a_run_that_moves_while_it_waits_for_another_ends(tmp_path: Path, maker: RunMaker) -> None:
    other = maker.make("other", RunState.RUNNING)
    waiting, new = tmp_path / "waiting", tmp_path / "moved"
    with environment(tmp_path):
        front = begin(*ARGUMENTS, "--after", other, "--output", waiting)
        wait_until(lambda: "waits until" in reason_of(waiting), "it waits")
        os.rename(waiting, new)
        _out, err = front.communicate()
        assert front.returncode == 1
        assert f"stopped: its directory {waiting} was moved to {new}" in err
        assert not waiting.exists()
        wait_until(lambda: has_ended(new), "its runner to end", 20.0)


def reason_of(directory: Path) -> str:
    from forge_tui.errors import RunDirectoryError

    try:
        with Run(directory) as run:
            return run.snapshot().run.reason or ""
    except RunDirectoryError:
        return ""


def test_a_directory_that_moves_while_the_run_is_prepared_is_left_alone(tmp_path: Path) -> None:
    directory, new = tmp_path / "run", tmp_path / "new"
    data = tmp_path / "data.py"
    data.write_text(
        "import pathlib, time, torch\n"
        "def dataset(seed, samples):\n"
        f"    pathlib.Path({str(tmp_path / 'reads')!r}).touch()\n"
        f"    while not pathlib.Path({str(tmp_path / 'goes_on')!r}).exists():\n"
        "        time.sleep(0.01)\n"
        "    return torch.randn(40, 3), torch.arange(40) % 2\n"
    )
    with environment(tmp_path):
        front = begin(*ARGUMENTS, "--dataset", data, "--output", directory)
        wait_until((tmp_path / "reads").exists, "the data is read")
        os.rename(directory, new)
        directory.mkdir()
        (directory / "lock").write_text("another one's")
        (tmp_path / "goes_on").touch()
        _out, err = front.communicate()
    assert front.returncode == 4
    assert f"{directory} was moved or deleted before the run began; nothing was started" in err
    assert files_in(directory) == ["lock"]
    assert (directory / "lock").read_text() == "another one's"
    wait_until(lambda: has_ended(new), "the runner to end", 20.0)
