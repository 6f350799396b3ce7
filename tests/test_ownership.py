"""Nothing of the user's is touched: what a run directory holds beside the run stays, whatever is done to the run."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from depth import crossed, deep
from run_directories import RunMaker, write_checkpoint
from running import SMALL, forge
from storm_checks import told

from forge_tui import client
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.phases import RunState
from forge_tui.runs.layout import RunDirectory

FAULTS = Path(__file__).parent / "support" / "faults"
SHORT = ("--no-ui", "--epochs", "1", "--models", "1", *SMALL)


def contents(directory: Path) -> dict[str, bytes | str | None]:
    """All that is in a directory: the bytes of files, where links lead, None for directories."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def put(path: Path, text: str = "mine") -> Path:
    """A file of the user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def run(maker: RunMaker) -> Path:
    """A run that has ended, with files of each kind."""
    path = maker.make("run", count=2)
    directory = RunDirectory(path)
    for name in ("cognate_planner_1", "cognate_planner_2"):
        put(directory.json(name), "{}")
        put(directory.weights(name), "weights")
        put(directory.log(name), "printed")
        write_checkpoint(directory.checkpoint_directory(name) / "step-000000000010.safetensors", {"epoch": 1})
    put(directory.log("runner"), "")
    put(directory.settings, "")
    directory.lock.touch()
    return path


# --- rm


def test_a_directory_that_only_holds_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name in ("checkpoints/best.pt", "logs/app.log", "settings.toml", "previous-1/thesis.tex", "commands/make.json"):
        put(project / name)
    with sqlite3.connect(project / "run.db") as database:
        database.execute("CREATE TABLE runs (id INTEGER)")
    database.close()
    before = contents(project)
    status, _out, err = told("rm", "--yes", project)
    assert (status, contents(project)) == (4, before)
    assert f"{project}/run.db is not the database of a run" in err


@pytest.mark.parametrize("content", [b"", b"no database at all" * 999, None], ids=["empty", "text", "damaged"])
def test_what_cannot_be_told_to_be_a_run_is_left_alone(run: Path, content: bytes | None) -> None:
    database = run / "run.db"
    if content is None:
        whole = database.read_bytes()
        content = whole[:100] + b"\xff" * (len(whole) - 100)
    database.write_bytes(content)
    before = contents(run)
    status, _out, err = told("rm", "--yes", run)
    assert (status, contents(run)) == (4, before)
    assert str(database) in err
    assert "restore a copy" in err or "name the directory of a run" in err


FOREIGN = (
    "notes.txt",
    "cognate_planner_3.json",
    "cognate_planner_1.json.bak",
    "logs/app.log",
    "logs/cognate_planner_3.log",
    "checkpoints/best.pt",
    "checkpoints/cognate_planner_1/notes.txt",
    "checkpoints/cognate_planner_3/step-000000000010.safetensors",
    "commands/notes.txt",
    "previous-3/thesis.tex",
    ".mine.0123abcd.tmp",
)


def test_foreign_files_stay_and_are_named(run: Path) -> None:
    for name in FOREIGN:
        put(run / name, name)
    status, _out, err = told("rm", "--yes", run)
    assert status == 0
    assert {name: text for name, text in contents(run).items() if text is not None} == {
        name: name.encode() for name in FOREIGN
    }
    for name in FOREIGN:
        top = name.partition("/")[0]
        assert name in err or (top == "previous-3" and top in err) or "cognate_planner_3" in err, (name, err)


def test_python_is_given_the_files_that_stayed(run: Path) -> None:
    put(run / "logs" / "app.log")
    assert client.delete(run) == (run / "logs" / "app.log",)
    assert contents(run) == {"logs": None, "logs/app.log": b"mine"}


def test_a_run_alone_goes_with_its_directory(run: Path) -> None:
    status, _out, err = told("rm", "--yes", run)
    assert (status, err) == (0, f"{run} deleted\n")
    assert not run.exists()


def test_a_link_goes_with_the_run_it_leads_to(run: Path, tmp_path: Path) -> None:
    link = tmp_path / "newest"
    link.symlink_to(run)
    assert told("rm", "--yes", link)[0] == 0
    assert not run.exists()
    assert not link.is_symlink()
    assert client.known_runs() == []


def test_links_inside_a_run_are_not_followed(run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for name in ("checkpoints", "logs", "previous-1"):
        put(outside / name / "cognate_planner_1" / "step-000000000010.safetensors")
        put(outside / name / "cognate_planner_1.log")
        put(outside / name / "runner.log")
    shutil.copy(run / "run.db", outside / "previous-1")
    before = contents(outside)
    for name in ("checkpoints", "logs"):
        shutil.rmtree(run / name)
        (run / name).symlink_to(outside / name)
    (run / "previous-1").symlink_to(outside / "previous-1")
    (run / "cognate_planner_1.json").unlink()
    (run / "cognate_planner_1.json").symlink_to(outside / "logs" / "runner.log")
    status, _out, err = told("rm", "--yes", run)
    assert status == 0
    assert contents(outside) == before
    links = ["checkpoints", "cognate_planner_1.json", "logs", "previous-1"]
    assert sorted(contents(run)) == links
    assert all(name in err for name in links)


def test_a_live_run_is_not_deleted(maker: RunMaker) -> None:
    path = maker.make("live", state=RunState.RUNNING)
    before = contents(path)
    with pytest.raises(RunDirectoryError, match="in use"):
        client.delete(path)
    assert contents(path).keys() == before.keys()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, to be copied."""
    path = tmp_path_factory.mktemp("trained") / "run"
    forge(*SHORT, "--epochs", "2", "--output", path)
    return path


@pytest.fixture
def ended(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, for a test that changes it."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


# --- starts

NEEDED = (
    "cognate_planner_1.json",
    "cognate_planner_1.safetensors",
    "settings.toml",
    "run.db",
    "lock",
    "starting.log",
    "starting.json",
    "logs/cognate_planner_1.log",
    "logs/runner.log",
    "checkpoints/cognate_planner_1/mine",
    "commands/mine",
    "checkpoints",
    "logs",
)


HOW = ("", "--overwrite", "--check")
EACH_TIME = {*((name, "") for name in NEEDED), ("cognate_planner_1.json", "--overwrite"), ("lock", "--overwrite"),
             ("run.db", "--check"), ("checkpoints/cognate_planner_1/mine", "--check")}  # fmt: skip


@pytest.mark.parametrize(("name", "how"), crossed(NEEDED, HOW, EACH_TIME))
def test_a_start_refuses_where_a_name_it_needs_is_taken(name: str, how: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    put(project / name)
    before = contents(project)
    err = forge(*SHORT, *how.split(), "--output", project, status=4).stderr
    assert contents(project) == before
    assert name.removesuffix("/mine") in err
    assert "--overwrite" not in err.replace("project", "")


def test_a_link_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("checkpoints", "logs", "commands"):
        project = tmp_path / name
        project.mkdir()
        (project / name).symlink_to(outside)
        err = forge(*SHORT, "--output", project, status=4).stderr
        assert f"{name}" in err
    assert contents(outside) == {}


def test_a_projects_own_checkpoints_and_logs_are_shared_and_stay(tmp_path: Path) -> None:
    project = tmp_path / "project"
    mine = ("checkpoints/best.pt", "logs/app.log", "train.py", "logs/old/app.log")
    for name in mine:
        put(project / name, name)
    before = contents(project)
    forge(*SHORT, "--output", project)
    assert (project / "logs" / "runner.log").exists()
    forge(*SHORT, "--overwrite", "--output", project)
    assert contents(project).items() >= before.items()
    assert (project / "previous-1" / "cognate_planner_1.json").exists()
    assert (project / "previous-1" / "logs" / "cognate_planner_1.log").exists()
    assert list((project / "previous-1" / "checkpoints" / "cognate_planner_1").iterdir())
    done = forge("rm", "--yes", project)
    assert contents(project) == before
    assert "checkpoints/best.pt" in done.stderr


def test_a_users_empty_directory_stays(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    forge(*SHORT, "--output", mine)
    done = forge("rm", "--yes", mine)
    assert contents(tmp_path) == {"mine": None}
    assert "the directory stays" in done.stderr


def test_foreign_files_in_a_run_stay_where_they_are_when_it_is_moved(ended: Path) -> None:
    run = ended
    mine = ("notes.txt", "logs/app.log", "checkpoints/best.pt", "checkpoints/cognate_planner_1/notes.txt")
    for name in mine:
        put(run / name, name)
    forge(*SHORT, "--overwrite", "--output", run)
    assert all((run / name).read_text() == name for name in mine)
    err = forge("rm", "--yes", run).stderr
    assert {name: text for name, text in contents(run).items() if text is not None} == {
        name: name.encode() for name in mine
    }
    assert all(name in err for name in mine)


@pytest.mark.parametrize("name", ["commands/mine.json", "cognate_planner_2.json"])
def test_foreign_files_that_the_next_run_would_use_are_named(name: str, ended: Path) -> None:
    run = ended
    put(run / name)
    before = contents(run)
    for extra in (("--overwrite",), ("--check", "--overwrite")):
        err = forge(*SHORT, "--models", "2", *extra, "--output", run, status=4).stderr
        assert name.removesuffix("/net.py") in err
        assert contents(run).keys() == before.keys()
        assert contents(run)[name] == b"mine"


# --- resume, and what a live run writes


def _replace_by_link(path: Path, outside: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(outside)


LINKED: dict[str, Callable[[Path], Path]] = {
    "checkpoints": lambda outside: outside / "directory",
    "checkpoints/cognate_planner_1": lambda outside: outside / "directory",
    "logs": lambda outside: outside / "directory",
    "logs/runner.log": lambda outside: outside / "file",
    "logs/cognate_planner_1.log": lambda outside: outside / "file",
    "commands": lambda outside: outside / "directory",
    "cognate_planner_1.json": lambda outside: outside / "file",
    "settings.toml": lambda outside: outside / "settings.toml",
    "run.db": lambda outside: outside / "run.db",
}


@pytest.mark.parametrize("name", LINKED)
def test_a_resume_follows_no_link_out_of_the_run(name: str, trained: Path, tmp_path: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(trained, run)
    put(outside / "file")
    put(outside / "directory" / "step-000000000001.safetensors")
    for file in ("settings.toml", "run.db"):
        shutil.copy(run / file, outside)
    before = contents(outside)
    _replace_by_link(run / name, LINKED[name](outside))
    err = forge("resume", run, "--epochs", "4", status=4).stderr
    assert f"{run / name} is a symbolic link" in err
    assert contents(outside) == before


def test_a_log_outside_the_run_is_not_shown(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    secret = put(tmp_path / "secret" / "cognate_planner_1.log", "the password")
    _replace_by_link(run / "logs" / "cognate_planner_1.log", secret)
    for _ in range(2):
        status, out, err = told("logs", run, "cognate_planner_1")
        assert (status, out) == (4, "")
        assert "symbolic link" in err
        _replace_by_link(run / "logs", secret.parent)


# --- a start that is killed


@pytest.mark.parametrize(
    "instant", ["previous-1/checkpoints", deep("previous-1/run.db"), deep("/settings.toml"), "run/run.db"]
)
def test_a_start_that_is_killed_while_it_moves_a_run_away_costs_nothing(
    instant: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    put(run / "notes.txt")
    put(run / "logs" / "app.log")
    before = {name: text for name, text in contents(run).items() if text is not None}
    again = ("--no-ui", "--models", "1", "--epochs", "1", *SMALL, "--overwrite", "--output", run)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(FAULTS))
        patch.setenv("KILL_AT_RENAME", instant)
        assert "the runner was killed by SIGKILL before the run began" in forge(*again, status=1).stderr
    copies = [Path(shutil.copytree(run, tmp_path / name / "run")) for name in ("resumed", "removed", "refused")]
    assert "nothing to resume" in forge("resume", copies[0], status=2).stderr
    assert {name: text for name, text in contents(copies[0]).items() if text is not None} == before
    forge("resume", copies[0], "--epochs", "3")
    forge("rm", "--yes", copies[1])
    assert contents(copies[1]) == {"logs": None, "logs/app.log": b"mine", "notes.txt": b"mine"}
    assert "has a run already" in forge(*again[:-3], "--output", copies[2], status=4).stderr
    assert {name: text for name, text in contents(copies[2]).items() if text is not None} == before
    forge(*again)
    moved = {name for name in before if name not in ("notes.txt", "logs/app.log", "lock")}
    assert {f"previous-1/{name}" for name in moved} <= contents(run).keys()
    assert all(contents(run)[f"previous-1/{name}"] == before[name] for name in moved)
