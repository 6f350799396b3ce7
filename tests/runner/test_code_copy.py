"""The runner's side of the copy of custom code, and who watches the originals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge_tui.errors import ChangedError, RunDirectoryError
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runner.code_copy import Code
from forge_tui.runner.code_watch import CodeWatch
from forge_tui.runs.code import check_path, code_paths, labels_for
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig


class Place:
    """A project whose `net.py` imports `parts.py`, and a run directory."""

    def __init__(self, base: Path, stack: contextlib.ExitStack) -> None:
        self.root, self.stack = base / "project", stack
        self.directory = RunDirectory(base / "run")
        self.directory.create()
        self.root.mkdir()
        self.write("net.py", "import parts")
        self.write("parts.py", "VALUE = 1")
        training = TrainingConfig(model_type=f"{self.root}/net.py")
        self.settings = Settings(training=training, run=RunSettings(python_path=(str(self.root),)))
        self.info = RunInfo(
            run="run", path=str(self.directory.path), mode="series", policy="shared", model_type="net", models=1,
            epochs=1, created=1.0, version="0.1.0",
        )  # fmt: skip

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text, encoding="utf-8")

    def start(self) -> Code:
        """Begin a run."""
        return self._kept(Code.of_new(self.settings, self.stack))

    def resume(self, *, accept: bool = False) -> Code:
        """Go on with it."""
        return self._kept(Code.of_earlier(self.directory, self.info, self.settings, self.stack, accept_changes=accept))

    def _kept(self, code: Code) -> Code:
        code.settle(self.directory)
        code.keep(self.directory)
        self.info = code.in_record(self.info)
        return code

    def copies(self) -> dict[str, str]:
        """The copies in the run directory, and their texts."""
        found = [path for path in self.directory.code.rglob("*") if path.is_file()]
        return {path.relative_to(self.directory.code).as_posix(): path.read_text(encoding="utf-8") for path in found}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        yield Place(tmp_path, stack)


def test_a_new_copy_lies_outside_the_run_directory_until_the_run_begins(place: Place) -> None:
    code = Code.of_new(place.settings, place.stack)
    assert place.copies() == {}
    assert code.settle(place.directory).keys() == {"code/project/net.py", "code/project/parts.py"}
    assert place.copies() == {}
    code.keep(place.directory)
    assert place.copies() == {"project/net.py": "import parts", "project/parts.py": "VALUE = 1"}
    code.take_back(place.directory)
    assert not place.directory.code.exists()


def test_what_was_read_is_what_is_copied(place: Place) -> None:
    code = Code.of_new(place.settings, place.stack)
    place.write("parts.py", "VALUE = 2")
    code.keep(place.directory)
    assert place.copies()["project/parts.py"] == "VALUE = 1"


def test_accepted_changes_lie_beside_what_was_there_before(place: Place) -> None:
    place.start()
    for number in (2, 3):
        place.write("parts.py", f"VALUE = {number}")
        assert not place.resume().changes_accepted
        code = place.resume(accept=True)
        assert code.changes_accepted
        assert code.record.current().files.keys() == {f"project-{number}/net.py", f"project-{number}/parts.py"}
        assert str(place.root / "parts.py") in code.notices[0]
    values = {name: text for name, text in place.copies().items() if "parts" in name}
    assert values == {
        "project/parts.py": "VALUE = 1", "project-2/parts.py": "VALUE = 2", "project-3/parts.py": "VALUE = 3",
    }  # fmt: skip
    assert place.info.code.keys() == place.copies().keys()
    assert not place.resume(accept=True).changes_accepted  # nothing has changed since


def test_a_new_file_that_is_imported_is_a_change_too(place: Place) -> None:
    place.start()
    place.write("more.py", "")
    assert not place.resume(accept=True).changes_accepted
    place.write("parts.py", "import more")
    code = place.resume(accept=True)
    assert "project-2/more.py" in code.record.files
    assert "parts.py" in code.notices[0]
    assert "more.py" in code.notices[0]


def test_a_missing_copy_is_said_and_may_be_replaced(place: Place) -> None:
    place.start()
    (place.directory.code / "project" / "parts.py").unlink()
    with pytest.raises(ChangedError, match=r"parts.py is missing"):
        place.resume()
    code = place.resume(accept=True)
    assert code.changes_accepted
    assert "the copy was damaged" in code.notices[0]


def test_without_the_original_there_is_nothing_to_accept(place: Place) -> None:
    place.start()
    (place.root / "net.py").unlink()
    place.write("parts.py", "VALUE = 2")
    assert not place.resume(accept=True).changes_accepted


def test_a_file_that_is_imported_for_the_first_time_is_copied_once(place: Place) -> None:
    code = place.start()
    place.write("late.py", "VALUE = 1")
    first, is_new = code.answer(str(place.root / "late.py"))
    assert is_new
    assert first["path"] == "project/late.py"
    place.write("late.py", "VALUE = 2")
    assert code.answer(str(place.root / "late.py")) == (first, False)
    assert place.copies()["project/late.py"] == "VALUE = 1"
    place.info = code.in_record(place.info)
    place.resume()
    assert "late.py" in place.resume(accept=True).notices[0]


@pytest.mark.parametrize("file", ["/etc/passwd", "{root}/../outside.py", "{root}/notes.txt", "{root}/nothing.py"])
def test_nothing_else_is_copied(place: Place, file: str) -> None:
    code = place.start()
    (place.root.parent / "outside.py").touch()
    place.write("notes.txt", "")
    answer, is_new = code.answer(file.format(root=place.root))
    assert "cannot be copied with the run's code" in answer["refused"]
    assert not is_new
    assert len(place.copies()) == 2


def test_edits_are_said_once_whatever_becomes_of_them(place: Place) -> None:
    watch = CodeWatch(place.start())
    watch.look()
    assert watch.news() == []
    (place.root / "parts.py").touch()  # by an editor that writes what is there
    watch.look()
    assert watch.news() == []
    place.write("parts.py", "VALUE = 2")
    place.write("net.py", "import parts, json")
    watch.look()
    (told,) = watch.news()
    assert f"changed after the start of the run: {place.root}/net.py, {place.root}/parts.py." in told
    place.write("parts.py", "VALUE = 33")
    (place.root / "net.py").unlink()
    watch.look()
    assert watch.news() == []


def test_a_file_that_an_editor_replaces_is_not_gone(place: Place) -> None:
    watch = CodeWatch(place.start())
    watch.look()
    (place.root / "parts.py").rename(place.root / "parts.py.bak")
    watch.look()
    assert watch.news() == []
    (place.root / "parts.py.bak").rename(place.root / "parts.py")
    watch.look()
    assert watch.news() == []
    (place.root / "parts.py").unlink()
    watch.look()
    watch.look()
    (told,) = watch.news()
    assert f"was moved or deleted: {place.root}/parts.py." in told


def test_what_a_resume_does_not_find_is_said_at_once(place: Place) -> None:
    place.start()
    (place.root / "parts.py").unlink()
    watch = CodeWatch(place.resume())
    watch.look()
    assert len(watch.news()) == 1


def test_digests_tell_code_apart_wherever_it_lies(place: Place, tmp_path: Path) -> None:
    first = place.start()
    with contextlib.ExitStack() as stack:
        (tmp_path / "elsewhere").mkdir()
        other = Place(tmp_path / "elsewhere", stack)
        assert Code.of_new(other.settings, stack).digest == first.digest
        other.write("parts.py", "VALUE = 2")
        assert Code.of_new(other.settings, stack).digest != first.digest
    assert Code().digest is None


@pytest.mark.parametrize(
    ("directories", "taken", "labels"),
    [
        (["/a/project", "/b/project"], [], {"project": "/a/project", "project-2": "/b/project"}),
        (["/a/b", "/a", "/a/c/d"], [], {"a": "/a"}),
        (["/a/Project"], ["project", "PROJECT-2"], {"Project-3": "/a/Project"}),
        (["/", "/a"], [], {"root": "/"}),
        (["/a/.hidden", "/a/für uns", "/a/.."], [], {"root": "/"}),
        (["/a/.hidden", "/b/für uns"], [], {"hidden": "/a/.hidden", "f_r_uns": "/b/für uns"}),
    ],
)
def test_directories_get_names_of_their_own(directories: list[str], taken: list[str], labels: dict[str, str]) -> None:
    assert labels_for(directories, taken) == labels


def test_recorded_paths_name_python_files_below_the_copy() -> None:
    assert code_paths(["p/net.py", "p/deep/er/x.py"]) == [
        "code/p/deep/er/x.py", "code/p/net.py", "code/p/deep/er", "code/p/deep", "code/p", "code",
    ]  # fmt: skip
    for path in (
        "net.py",
        "../net.py",
        "p/../../net.py",
        "/p/net.py",
        "p//net.py",
        "p/net.txt",
        "p/\0/net.py",
        "p/.py/..",
    ):
        with pytest.raises(RunDirectoryError):
            check_path(path)
