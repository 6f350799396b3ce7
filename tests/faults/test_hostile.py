"""Files that somebody else, or nobody sane, has put into a run directory: refused in words, and training goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import SMALL, begin, epochs_of, forge, wait_until
from storm_checks import told

from forge_tui.client.run import Run

LIVE = ("--no-ui", "--epochs", "100000", "--models", "1", *SMALL)
NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to other users")


@pytest.fixture
def live(run_directory: Path) -> Iterator[Path]:
    """A live run; it is stopped at the end, by a command that it has to answer."""
    begun = begin(*LIVE, "--output", run_directory)
    wait_until(lambda: epochs_of(run_directory) >= 1, "an epoch")
    yield run_directory
    forge("stop", run_directory)
    begun.communicate()


def answers(run: Path) -> list[str]:
    """Why commands were refused."""
    with Run(run) as attached:
        records, since = [], 0
        while found := attached.events(since):
            records += [record for _, record in found]
            since = found[-1][0]
    return [r["reason"] for r in records if r["event"] == "command" and r["outcome"] == "refused"]


def _command(**changes: object) -> bytes:
    record = {"v": 1, "id": "x", "name": "pause", "arguments": {}, "from": "me", "time": 1.0, **changes}
    return json.dumps(record).encode()


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "huge": (lambda path: path.write_bytes(b"[" * 50_000_000), "it is larger than 65536 bytes"),
    "directory": (lambda path: (path.mkdir(), (path / "in it").touch()), "it is not a file"),
    "link": (lambda path: path.symlink_to("/etc/passwd"), "symbolic link"),
    "pipe": (lambda path: os.mkfifo(path), "it is not a file"),
    "empty": (lambda path: path.touch(), "malformed"),
    "unknown name": (lambda path: path.write_bytes(_command(name="format")), "format"),
    "arguments of another type": (lambda path: path.write_bytes(_command(arguments=[1])), "`arguments`"),
    "no such model": (
        lambda path: path.write_bytes(_command(name="cancel", arguments={"model": {"a": 1}})),
        "there is no model {'a': 1} in this run",
    ),
    "workers of another type": (
        lambda path: path.write_bytes(_command(name="workers", arguments={"workers": "9" * 5_000})),
        "must be a whole number",
    ),
    "deeply nested": (lambda path: path.write_bytes(b'{"v":' + b"[" * 30_000), "malformed"),
}


def test_hostile_commands_are_refused_and_the_run_answers_on(live: Path) -> None:
    before = epochs_of(live)
    for number, (make, _) in enumerate(HOSTILE.values()):
        made = live / "commands" / f".{number:04}-hostile.json"  # not taken before it is whole
        make(made)
        made.rename(made.with_name(made.name[1:]))
    wait_until(lambda: len(answers(live)) >= len(HOSTILE), "an answer to each")
    for (kind, (_, words)), reason in zip(HOSTILE.items(), answers(live), strict=True):
        assert words.lower() in reason.lower().replace("too many levels of symbolic links", "symbolic link"), kind
    assert not list((live / "commands").glob("*.json"))
    wait_until(lambda: epochs_of(live) > before, "training that goes on")
    assert forge("pause", live).returncode == 0


@as_root
def test_a_command_of_another_user_is_refused(live: Path) -> None:
    ours = live / "commands" / ".prepared"
    ours.write_bytes(_command(name="kill"))
    os.chown(ours, NOBODY, NOBODY)
    ours.rename(live / "commands" / "0001-theirs.json")
    (reason,) = wait_until(lambda: answers(live), "an answer")
    assert "belongs to another user" in reason


def test_ten_thousand_commands_at_once_hold_up_nothing(live: Path) -> None:
    count = 10_000
    waiting = live / "commands"
    for number in range(count):
        (waiting / f".{number:08}-many.json").write_bytes(_command(id=f"many{number}", name="continue"))
    for number in range(count):
        (waiting / f".{number:08}-many.json").rename(waiting / f"{number:08}-many.json")
    before = epochs_of(live)
    wait_until(lambda: epochs_of(live) > before, "training that goes on")
    wait_until(lambda: len(answers(live)) >= count, "an answer to each")
    assert set(answers(live)) == {"it is not paused"}


@pytest.mark.parametrize(
    "dataset", ["__import__('os').system('touch HOSTILE')", "os:system", "; touch HOSTILE", "$(touch HOSTILE).csv"]
)
def test_a_dataset_that_looks_like_code_is_a_name_and_nothing_runs(dataset: str, tmp_path: Path) -> None:
    done = forge("--no-ui", "--dataset", dataset, *SMALL, "--output", tmp_path / "run", cwd=tmp_path, status=2)
    assert "dataset" in done.stderr or "data" in done.stderr
    assert not (tmp_path / "HOSTILE").exists()
    assert not (tmp_path / "run").exists()


def _ended(directory: Path, model_type: str = "planner") -> Path:
    arguments = ("--no-ui", "--epochs", "3", "--models", "1", "--model-type", model_type)
    forge(*arguments, *SMALL, "--output", directory)
    return directory


def test_settings_of_a_run_that_name_code_are_not_resumed(tmp_path: Path) -> None:
    run = _ended(tmp_path / "run")
    settings = run / "settings.toml"
    changed = settings.read_text().replace('model_type = "planner"', 'model_type = "os:system"')
    assert changed != settings.read_text()
    settings.write_text(changed)
    done = forge("resume", run, "--epochs", "5", status=None, cwd=tmp_path)
    assert done.returncode in (2, 4)
    assert str(settings) in done.stderr


def test_a_checkpoint_of_another_model_is_refused_in_words(tmp_path: Path) -> None:
    ours, theirs = _ended(tmp_path / "ours"), _ended(tmp_path / "theirs", "memory")
    (own,) = (ours / "checkpoints").rglob("*.safetensors")
    (foreign,) = (theirs / "checkpoints").rglob("*.safetensors")
    shutil.copy(foreign, own)
    done = forge("resume", ours, "--epochs", "5", status=1)
    assert f"{own} is of cognate_memory_1 with seed 0, not of cognate_planner_1 with seed 0" in done.stderr


@as_root
def test_a_run_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    run = _ended(tmp_path / "run")
    os.chown(run, NOBODY, NOBODY)
    for arguments in (("resume", run, "--epochs", "5"), ("rm", "--yes", run), ("--no-ui", *SMALL, "--output", run)):
        done = forge(*arguments, status=4)
        assert "belongs to another user" in done.stderr, arguments
    assert (run / "cognate_planner_1.safetensors").exists()
    assert "completed" in forge("status", run).stdout


@as_root
def test_another_users_run_that_may_not_be_read_is_told_in_words(tmp_path: Path) -> None:
    run = _ended(tmp_path / "run")
    told("status", run)  # imports what it needs while it may
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.environ["XDG_STATE_HOME"] = "/nonexistent"
        try:
            answer = told("status", run)
        except BaseException as error:  # a finding, for the parent to tell
            answer = (-1, "", repr(error))
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        status, _out, err = json.load(answer)
    os.waitpid(child, 0)
    assert status == 4, err
    assert f"cannot look at {run}/run.db: Permission denied" in err
