"""A start that moves an earlier run away is done as a whole or not at all, wherever it is killed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest
from erring import each_error, error_at
from killed import each_kill
from run_directories import write_checkpoint

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import removal, starting
from forge_tui.runs.in_the_way import refuse_what_is_in_the_way
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import MARK, RunLock
from forge_tui.runs.reader import RunReader
from forge_tui.runs.starting import Start
from forge_tui.runs.store import RunStore
from forge_tui.safe_io import whole_files as runs_files
from forge_tui.safe_io.whole_files import write_atomically
from forge_tui.settings.files import settings_text, write_settings
from forge_tui.settings.schema import Settings

NAMES = [f"cognate_planner_{index}" for index in (1, 2, 3)]
CODE = b"def model(): ...\n"
IN_A_MODELS_DIRECTORY = "checkpoints/cognate_planner_1/notes.txt"
FOREIGN = {
    "notes.txt": b"mine",
    "logs/app.log": b"mine",
    "checkpoints/best.pt": b"mine",
    IN_A_MODELS_DIRECTORY: b"mine",
    "previous-7/thesis.tex": b"mine",
}
OLD, NEW = 1.0, 2.0
"""When the two runs were created: this tells them apart."""


def contents(directory: Path) -> dict[str, bytes | None]:
    """All in a directory but the lock, and what SQLite has beside a database."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
        if path.name != "lock" and not path.name.endswith(("-wal", "-shm"))
    }


def files(directory: Path) -> dict[str, bytes | None]:
    return {name: content for name, content in contents(directory).items() if content is not None}


def created(path: Path) -> float:
    with RunReader(path / "run.db") as reader:
        return reader.info().created


def info(path: Path, when: float) -> RunInfo:
    return RunInfo(
        run=path.name, path=str(path), mode="series", policy="shared", model_type="planner", models=2, epochs=1,
        created=when, code={"net.py": hashlib.sha256(CODE).hexdigest()},
    )  # fmt: skip


def start(path: Path, when: float = NEW) -> None:
    """All that a start does to the run directory."""
    directory = RunDirectory(path)
    made = directory.make()
    with RunLock.acquire(directory.lock):
        made |= removal.finish(directory)
        undone = starting.recover(directory)
        made |= undone is not None and "." in undone.directories
        begun = Start.begin(directory, NAMES, settings_text(Settings()).encode(), "move", made_root=made)
        descriptor = os.open(directory.starting_log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.write(descriptor, b"said\n")
        os.close(descriptor)
        begun.move_earlier()
        begun.announce({"code/net.py": hashlib.sha256(CODE).hexdigest()})
        os.mkdir(path / "code")
        write_atomically(path / "code" / "net.py", CODE)
        write_settings(Settings(), directory.settings)
        states = [ModelState(name=name, index=index, seed=0, epochs=1) for index, name in enumerate(NAMES, 1)]
        store = RunStore.create(directory.database, info(path, when), states, begun.directories())
        begun.commit()
        store.close()


def train(path: Path) -> None:
    """Files of each kind that a run's models have."""
    directory = RunDirectory(path)
    for name in NAMES:
        directory.json(name).write_text("{}")
        directory.weights(name).write_text("weights")
        directory.log(name).write_text("printed")
        write_checkpoint(directory.checkpoint_directory(name) / "step-000000000010.safetensors", {"epoch": 1})
    (directory.commands / f"{1:020}-0123456789ab.json").write_text("{}")
    (directory.path / "code" / "__pycache__").mkdir()
    (directory.path / "code" / "__pycache__" / "net.cpython-311.pyc").write_text("")


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A run in a directory that it made."""
    path = tmp_path / "original" / "run"
    start(path, OLD)
    train(path)
    return path


@pytest.fixture
def project(fresh: Path) -> Path:
    """A run in a directory with files of the user's, some of them among its own."""
    for name, content in FOREIGN.items():
        (fresh / name).parent.mkdir(exist_ok=True)
        (fresh / name).write_bytes(content)
    return fresh


def check_moved(path: Path, before: dict[str, bytes | None]) -> None:
    """The new run is at the top, the earlier one as a whole in a directory of its own, and the user's files stay."""
    assert created(path) == NEW
    (previous,) = [one for one in path.glob("previous-*") if (one / "run.db").exists()]
    assert created(previous) == OLD
    moved = {name: content for name, content in before.items() if name not in FOREIGN}
    assert files(previous) == moved
    now = files(path)
    assert all(now[name] == content for name, content in FOREIGN.items() if name in before)
    assert now["logs/runner.log"].endswith(b"said\n") if now["logs/runner.log"] else False
    assert "starting.json" not in now
    assert "starting.log" not in now
    assert not [name for name in now if name.endswith(".tmp")]


@pytest.mark.parametrize("which", ["fresh", "project"])
def test_a_move_that_is_killed_anywhere_is_undone_or_finished(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    original: Path = request.getfixturevalue(which)
    before, whole = files(original), contents(original)
    undone = finished = 0
    for number, path in each_kill(original, tmp_path / "killed", start):
        again = shutil.copytree(path, tmp_path / "again" / f"{number}" / "run")
        removed = shutil.copytree(path, tmp_path / "removed" / f"{number}" / "run")
        # A resume, or another start that is refused
        directory = RunDirectory(path)
        with RunLock.acquire(directory.lock):
            starting.recover(directory)
        if created(path) == OLD:
            undone += 1
            assert contents(path) == whole, number
        else:
            finished += 1
            check_moved(path, before)
            continue
        # Another start that moves it
        start(again)
        check_moved(again, before)
        # A removal
        removal.remove_run(RunDirectory(removed))
        left = {name: content for name, content in before.items() if name in FOREIGN}
        assert files(removed) == left, number
        assert removed.exists() == bool(left)
    assert undone > 25
    assert finished > 1


def test_a_first_start_that_is_killed_anywhere_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    original = tmp_path / "original" / "project"
    for name, content in FOREIGN.items():
        (original / name).parent.mkdir(parents=True, exist_ok=True)
        (original / name).write_bytes(content)
    shutil.rmtree(original / "checkpoints" / "cognate_planner_1")
    before, undone = files(original), 0
    for number, path in each_kill(original, tmp_path / "killed", start):
        removed = shutil.copytree(path, tmp_path / "removed" / f"{number}" / "run")
        start(path)
        assert created(path) == NEW
        assert files(path).items() >= before.items()
        if RunDirectory(removed).may_hold_run():
            removal.remove_run(RunDirectory(removed))
            assert files(removed) == before
            undone += 1
        removal.remove_run(RunDirectory(path))
        assert contents(path) == contents(original)
    assert undone > 12


@pytest.mark.parametrize("which", ["fresh", "project"])
def test_an_error_of_the_disk_at_any_step_of_a_start_is_raised_in_words_and_loses_nothing(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    original: Path = request.getfixturevalue(which)
    before, raised = files(original), 0
    for what, path, error in each_error(original, tmp_path / "failed", start):
        if error is not None:
            raised += 1
            assert isinstance(error, RunDirectoryError) or what.endswith(("/starting.log", "/code")), what  # `start`'s
            assert "Input/output error" in str(error), what
        if error is None or created_where(path) == NEW:
            check_moved(finished(path), before)
            continue
        start(path)
        check_moved(path, before)
    assert raised > 30


def test_a_start_whose_announcement_is_not_sure_to_stay_is_undone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there when syncing its directory fails."""
    before, directory = contents(project), RunDirectory(project)
    with RunLock.acquire(directory.lock):
        with monkeypatch.context() as patch:
            patch.setattr(runs_files, "sync_directory", lambda _: os.fsync(1 << 30))
            with pytest.raises(RunDirectoryError, match=r"cannot write .*starting\.json: Bad file descriptor"):
                Start.begin(directory, NAMES, b"", "move", made_root=False)
        assert contents(project) == before


def test_an_error_of_the_disk_at_any_step_of_a_removal_is_raised_in_words_and_the_next_removes_the_rest(
    project: Path, tmp_path: Path
) -> None:
    start(project)
    train(project)
    raised = 0

    for what, path, error in each_error(project, tmp_path / "failed", delete):
        if error is not None:
            raised += 1
            assert isinstance(error, RunDirectoryError), what
            assert "Input/output error" in str(error), what
        if RunDirectory(path).may_hold_run():
            assert error is not None, what
            delete(path)
        assert files(path) == FOREIGN, what
    assert raised > 30


def test_a_run_is_removed_but_for_its_empty_directory_where_the_disk_fails_at_that(fresh: Path) -> None:
    steps = len(list(each_error(fresh, fresh.parent.parent / "all", delete)))
    with error_at(steps), pytest.raises(RunDirectoryError, match="its empty directory cannot be: Input/output error"):
        delete(fresh)
    assert list(fresh.iterdir()) == []


def delete(path: Path) -> None:
    removal.remove_run(RunDirectory(path))


def created_where(path: Path) -> float:
    return created(path) if (path / "run.db").exists() else OLD


def finished(path: Path) -> Path:
    """What the next to hold the lock does first."""
    directory = RunDirectory(path)
    with RunLock.acquire(directory.lock):
        starting.recover(directory)
    return path


def test_a_directory_made_by_a_start_that_was_killed_goes_with_the_run(tmp_path: Path) -> None:
    empty = tmp_path / "original"
    empty.mkdir()
    for _, place in each_kill(empty, tmp_path / "killed", lambda place: start(place / "run")):
        path = place / "run"
        if (path / "starting.json").exists():
            start(path)
            assert removal.remove_run(RunDirectory(path)) == ()
            assert not path.exists()


def test_a_start_that_fails_puts_everything_back(project: Path) -> None:
    whole, directory = contents(project), RunDirectory(project)
    with RunLock.acquire(directory.lock):
        begun = Start.begin(directory, NAMES, settings_text(Settings()).encode(), "move", made_root=False)
        begun.move_earlier()
        write_settings(Settings(), directory.settings)
        begun.undo()
        begun.undo()
    assert contents(project) == whole


def test_a_start_whose_directories_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def makedirs(path: Path, **_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "makedirs", makedirs)
    with pytest.raises(RunDirectoryError, match=r"create the directory .*checkpoints: No space left"):
        Start.begin(RunDirectory(tmp_path), NAMES, b"", "move", made_root=False)
    assert contents(tmp_path) == {}


def test_what_a_start_would_undo_is_its_own(project: Path, tmp_path: Path) -> None:
    """Files that were changed since, or that only an announcement from elsewhere names, stay."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "settings.toml").write_text("mine")
    (elsewhere / "thesis.tex").write_text("mine")
    before = contents(elsewhere)
    for made in ({"settings.toml": hashlib.sha256(b"other").hexdigest()}, {"thesis.tex": None}, {"../x": None}):
        starting.Intent(made, frozenset((".", "logs"))).write(elsewhere)
        with RunLock.acquire(elsewhere / "lock"):
            starting.recover(RunDirectory(elsewhere))
        (elsewhere / "starting.json").unlink(missing_ok=True)
        assert contents(elsewhere) == before


def test_nothing_is_written_over_when_an_earlier_run_is_put_back(project: Path) -> None:
    directory = RunDirectory(project)
    with RunLock.acquire(directory.lock):
        begun = Start.begin(directory, NAMES, settings_text(Settings()).encode(), "move", made_root=False)
        begun.move_earlier()
        (project / "settings.toml").write_text("mine")
        with pytest.raises(RunDirectoryError, match=r"settings.toml cannot be put back .* there is another one"):
            starting.recover(directory)
        assert (project / "settings.toml").read_text() == "mine"
        (project / "settings.toml").unlink()
        starting.recover(directory)
    assert created(project) == OLD


def test_runs_moved_before_stay_known(fresh: Path) -> None:
    for when in (3.0, 4.0):
        start(fresh, when)
        train(fresh)
    assert [created(fresh / f"previous-{number}") for number in (1, 2)] == [OLD, 3.0]
    (fresh / "previous-1" / "notes.txt").write_text("mine")
    assert removal.remove_run(RunDirectory(fresh)) == (fresh / "previous-1" / "notes.txt",)
    assert contents(fresh) == {"previous-1": None, "previous-1/notes.txt": b"mine"}


def test_a_removal_that_is_killed_anywhere_is_finished_by_the_next(project: Path, tmp_path: Path) -> None:
    start(project)
    train(project)
    finished = 0
    for number, path in each_kill(project, tmp_path / "killed", lambda path: removal.remove_run(RunDirectory(path))):
        again = shutil.copytree(path, tmp_path / "again" / f"{number}" / "run")
        directory = RunDirectory(path)
        if directory.may_hold_run():
            removal.remove_run(directory)
            finished += 1
        assert files(path) == FOREIGN, number
        (again / IN_A_MODELS_DIRECTORY).unlink()
        with contextlib.suppress(OSError):
            (again / IN_A_MODELS_DIRECTORY).parent.rmdir()  # empty when all else is removed
        start(again, 3.0)
        assert created(again) == 3.0
        assert files(again).keys() >= FOREIGN.keys() - {IN_A_MODELS_DIRECTORY}
    assert finished > 30


def test_a_run_whose_removal_was_interrupted_is_not_resumed(fresh: Path, tmp_path: Path) -> None:
    whole = contents(fresh)
    for _, path in each_kill(fresh, tmp_path / "killed", lambda path: removal.remove_run(RunDirectory(path))):
        if (path / "run.db").exists():
            now = contents(path)
            assert now == whole
        elif path.exists():
            with pytest.raises(RunDirectoryError, match=r"was being deleted.*forge-tui rm|there is no run here"):
                RunDirectory(path).check_holds_run()


@pytest.mark.parametrize(
    ("content", "is_in_the_way"), [(MARK, False), (MARK[:9], False), (b"", False), (b"mine", True)]
)
def test_the_lock_that_another_start_is_making_is_in_nobodys_way(
    tmp_path: Path, content: bytes, is_in_the_way: bool
) -> None:
    (tmp_path / ".lock.0123abcd.tmp").write_bytes(content)
    refused = pytest.raises(RunDirectoryError, match=r"has \.lock\.0123abcd\.tmp, which no run")
    with refused if is_in_the_way else contextlib.nullcontext():
        assert refuse_what_is_in_the_way(RunDirectory(tmp_path), ["cognate_planner_1"], "refuse") is None
