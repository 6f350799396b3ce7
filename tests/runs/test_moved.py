"""A project that was moved: where the paths of its run are found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from forge_tui.errors import ChangedError, DataError, UsageError
from forge_tui.protocol.run_data import Fingerprint, RunData
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs.code import sha256
from forge_tui.runs.moved import Given, found_again, moved_path, relocated, relocated_data, require_data
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig

NET = "def model(inputs): ...\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Where the project is now; it was `old` beside it."""
    place = tmp_path / "new"
    (place / "run").mkdir(parents=True)
    (place / "lib").mkdir()
    (place / "data.csv").write_text("a,b\n1,2\n")
    (place / "net.py").write_text(NET)
    return place


def info_of(old: Path) -> RunInfo:
    return RunInfo(
        run="run", path=str(old / "run"), mode="series", policy="shared", model_type="net", models=1, epochs=1,
        created=0.0, working_directory=str(old), code={"old/net.py": sha256(NET.encode())},
        code_roots={"old": str(old)},
    )  # fmt: skip


def settings_of(old: Path) -> Settings:
    training = TrainingConfig(model_type=f"{old}/net.py:model", dataset=f"{old}/data.csv")
    return Settings(training=training, run=RunSettings(python_path=(f"{old}/lib", str(old))))


def as_is(settings: Settings) -> tuple[str, str, tuple[str, ...]]:
    return settings.training.model_type, settings.training.dataset, settings.run.python_path


@pytest.mark.parametrize("here", ["/", "here"], ids=["as the run moved", "from where one is"])
def test_a_project_that_moved_is_found_again(project: Path, tmp_path: Path, here: str) -> None:
    old, run = tmp_path / "old", project / "run"
    if here == "here":
        run = run.rename(tmp_path / "elsewhere")
    found = found_again(info_of(old), settings_of(old), run, project if here == "here" else Path("/"))
    assert (found.working_directory, found.code_roots) == (str(project), {"old": str(project)})
    expected = (f"{project}/net.py:model", f"{project}/data.csv", (f"{project}/lib", str(project)))
    now = relocated(settings_of(old), found.moved)
    assert as_is(now) == expected
    require_data(now, run)

    again = project.rename(tmp_path / "third")
    second = found_again(found, settings_of(old), again / "run" if here == "/" else run, again)
    for start in (settings_of(old), now):  # models of before and after the first move
        assert as_is(relocated(start, second.moved)) == tuple(
            part.replace(str(project), str(again)) if isinstance(part, str) else (f"{again}/lib", str(again))
            for part in expected
        )


def test_what_is_where_it_was_stays_there(project: Path, tmp_path: Path) -> None:
    info = info_of(project)
    assert found_again(info, settings_of(project), tmp_path / "run", tmp_path) is info


def test_a_directory_without_the_code_does_not_become_its_place(project: Path, tmp_path: Path) -> None:
    old, empty = tmp_path / "old", tmp_path / "empty"
    empty.mkdir()
    info = info_of(old)
    assert found_again(info, settings_of(old), empty / "run", empty) is info
    with pytest.raises(DataError, match=r"old/data.csv: there is no such file.*resume \S+/empty/run --dataset FILE"):
        require_data(settings_of(old), empty / "run")


def test_what_is_given_is_taken(project: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    data = (project / "data.csv").rename(tmp_path / "other.csv")
    given = Given(dataset="other.csv", python_path=(str(project),))
    found = found_again(info_of(old), settings_of(old), tmp_path / "x" / "run", tmp_path, given)
    now = relocated(settings_of(old), found.moved)
    assert as_is(now)[:2] == (f"{project}/net.py:model", str(data))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (Given(dataset="nothing.csv"), UsageError, "--dataset nothing.csv: there is no such file"),
        (Given(python_path=("/nothing",)), UsageError, "--python-path /nothing: there is no such directory"),
        (Given(python_path=("/proc",)), UsageError, r"none of the run's code \(net.py\) is there"),
    ],
)
def test_what_is_given_and_not_there_is_refused(
    project: Path, tmp_path: Path, given: Given, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        found_again(info_of(tmp_path / "old"), settings_of(tmp_path / "old"), project / "run", tmp_path, given)


def test_other_code_at_the_given_place_is_refused_unless_changes_are_accepted(project: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    (project / "net.py").write_text("changed = True\n")
    asked = Given(python_path=(str(project),))
    with pytest.raises(ChangedError, match=r"new/net.py is not what the run was started with"):
        found_again(info_of(old), settings_of(old), project / "run", tmp_path, asked)
    accepted = Given(python_path=(str(project),), accept_changes=True)
    found = found_again(info_of(old), settings_of(old), project / "run", tmp_path, accepted)
    assert found.code_roots == {"old": str(project)}


def test_swept_data_moves_with_its_fingerprints(project: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    (project / "b.csv").touch()
    settings = Settings(sweep={"training.dataset": (f"{old}/data.csv", f"{old}/b.csv")})
    found = found_again(info_of(old), settings, project / "run", tmp_path)
    assert relocated(settings, found.moved).sweep["training.dataset"] == (f"{project}/data.csv", f"{project}/b.csv")
    one, other = (Fingerprint(sha256=digit, rows=1, split_sha256="0") for digit in "12")
    data = RunData(one, (({"training.dataset": f"{old}/b.csv"}, other),))
    assert relocated_data(data, found.moved).of_model({"training.dataset": f"{project}/b.csv"}) == other


def test_a_file_of_validation_rows_moves_too(project: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    (project / "held.csv").write_text("a,b\n3,4\n")
    settings = replace(settings_of(old), data=DataSettings(validation=f"{old}/held.csv"))
    found = found_again(info_of(old), settings, project / "run", Path("/"))
    assert relocated(settings, found.moved).data.validation == f"{project}/held.csv"
    swept = replace(settings_of(old), sweep={"data.validation": (f"{old}/held.csv", "part")})
    found = found_again(info_of(old), swept, project / "run", Path("/"))
    assert relocated(swept, found.moved).sweep["data.validation"] == (f"{project}/held.csv", "part")


def test_a_path_moves_with_the_nearest_directory_above_it() -> None:
    moved = {"/a": "/b", "/a/c": "/d"}
    assert [moved_path(path, moved) for path in ("/a/x", "/a/c/x", "/ab", "/a")] == ["/b/x", "/d/x", "/ab", "/b"]
