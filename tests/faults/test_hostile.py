"""Files that somebody else, or nobody sane, has put into a run directory: refused in words, and training goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from depth import deep
from faulty import environment
from running import SMALL, begin, epochs_of, forge, processes_of, wait_until
from storm_checks import told

from forge_tui.client.run import Run

LIVE = ("--no-ui", "--epochs", "100000000", "--models", "1", *SMALL)
NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to other users")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A live run; it is stopped at the end, by a command that it has to answer."""
    directory = tmp_path_factory.mktemp("live") / "run"
    with environment(directory.parent, {1: {"do": "pace", "seconds": 0.05, "epoch": 1}}):
        begun = begin(*LIVE, "--output", directory)
    wait_until(lambda: epochs_of(directory) >= 1, "an epoch")
    yield directory
    forge("stop", directory)
    begun.communicate()
    assert not processes_of(directory)


class Answers:
    """Why the run's commands were refused from now on."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._before = len(self._all())

    def __call__(self) -> list[str]:
        return self._all()[self._before :]

    def _all(self) -> list[str]:
        with Run(self._run) as attached:
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
    before, answers = epochs_of(live), Answers(live)
    for number, (make, _) in enumerate(HOSTILE.values()):
        made = live / "commands" / f".{number:04}-hostile.json"  # not taken before it is whole
        make(made)
        made.rename(made.with_name(made.name[1:]))
    wait_until(lambda: len(answers()) >= len(HOSTILE), "an answer to each")
    for (kind, (_, words)), reason in zip(HOSTILE.items(), answers(), strict=True):
        assert words.lower() in reason.lower().replace("too many levels of symbolic links", "symbolic link"), kind
    assert not list((live / "commands").glob("*.json"))
    wait_until(lambda: epochs_of(live) > before, "training that goes on")
    forge("pause", live)
    forge("continue", live)


@as_root
def test_a_command_of_another_user_is_refused(live: Path) -> None:
    answers, ours = Answers(live), live / "commands" / ".prepared"
    ours.write_bytes(_command(name="kill"))
    os.chown(ours, NOBODY, NOBODY)
    ours.rename(live / "commands" / "0001-theirs.json")
    (reason,) = wait_until(answers, "an answer")
    assert "belongs to another user" in reason


def test_thousands_of_commands_at_once_hold_up_nothing(live: Path) -> None:
    answers, count = Answers(live), 3_000
    waiting = live / "commands"
    for number in range(count):
        (waiting / f".{number:08}-many.json").write_bytes(_command(id=f"many{number}", name="continue"))
    for number in range(count):
        (waiting / f".{number:08}-many.json").rename(waiting / f"{number:08}-many.json")
    before = epochs_of(live)
    wait_until(lambda: epochs_of(live) > before, "training that goes on")
    wait_until(lambda: not list(waiting.glob("*-many.json")), "all of them to be taken")
    wait_until(lambda: len(answers()) >= count, "an answer to each")
    assert set(answers()) == {"it is not paused"}


@pytest.mark.parametrize(
    "dataset",
    [deep("__import__('os').system('touch HOSTILE')"), "os:system", deep("; touch HOSTILE"), "$(touch HOSTILE).csv"],
)
def test_a_dataset_that_looks_like_code_is_a_name_and_nothing_runs(dataset: str, tmp_path: Path) -> None:
    done = forge("--no-ui", "--dataset", dataset, *SMALL, "--output", tmp_path / "run", cwd=tmp_path, status=2)
    assert "dataset" in done.stderr or "data" in done.stderr
    assert not (tmp_path / "HOSTILE").exists()
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def two_kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two models, a planner and a memory, that has ended."""
    directory = tmp_path_factory.mktemp("ended") / "run"
    sweep = ("--models", "1", "--sweep", "model_type=planner,memory")
    forge("--no-ui", "--epochs", "3", *sweep, *SMALL, "--output", directory)
    return directory


@pytest.fixture
def ended(two_kinds: Path, tmp_path: Path) -> Path:
    """A copy of it, for a test that changes it."""
    return Path(shutil.copytree(two_kinds, tmp_path / "run"))


def test_settings_of_a_run_that_name_code_are_not_resumed(ended: Path, tmp_path: Path) -> None:
    settings = ended / "settings.toml"
    changed = settings.read_text().replace('"planner"', '"os:system"')
    assert changed != settings.read_text()
    settings.write_text(changed)
    done = forge("resume", ended, "--epochs", "5", status=None, cwd=tmp_path)
    assert done.returncode in (2, 4)
    assert str(settings) in done.stderr


def test_a_checkpoint_of_another_model_is_refused_in_words(ended: Path) -> None:
    (own,) = (ended / "checkpoints" / "cognate_planner_1").glob("*.safetensors")
    (foreign,) = (ended / "checkpoints" / "cognate_memory_2").glob("*.safetensors")
    shutil.copy(foreign, own)
    done = forge("resume", ended, "--epochs", "5", status=1)
    assert f"{own} is of cognate_memory_2 with seed 0, not of cognate_planner_1 with seed 0" in done.stderr


@as_root
def test_a_run_directory_of_another_user_is_refused(ended: Path) -> None:
    os.chown(ended, NOBODY, NOBODY)
    for arguments in (
        ("resume", ended, "--epochs", "5"),
        ("rm", "--yes", ended),
        ("--no-ui", *SMALL, "--output", ended),
    ):
        done = forge(*arguments, status=4)
        assert "belongs to another user" in done.stderr, arguments
    assert (ended / "cognate_planner_1.safetensors").exists()
    assert "completed" in forge("status", ended).stdout


@as_root
def test_another_users_run_that_may_not_be_read_is_told_in_words(ended: Path) -> None:
    told("status", ended)  # imports what it needs while it may
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.environ["XDG_STATE_HOME"] = "/nonexistent"
        try:
            answer = told("status", ended)
        except BaseException as error:  # a finding, for the parent to tell
            answer = (-1, "", repr(error))
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        status, _out, err = json.load(answer)
    os.waitpid(child, 0)
    assert status == 4, err
    assert f"cannot look at {ended}/run.db: Permission denied" in err
