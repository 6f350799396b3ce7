"""The name and the note of a run: kept in its directory, accepted for RUN, and never mistaken for something else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from run_directories import RunMaker

from forge_tui.client import delete, known_runs
from forge_tui.client.run import Run
from forge_tui.errors import RunDirectoryError, UsageError
from forge_tui.protocol.label import LONGEST_NAME, LONGEST_NOTE, Label, checked_note, checked_run_name
from forge_tui.runs import registry
from forge_tui.runs.label import is_label, read_label, refuse_foreign_label, write_label
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import RunLock
from forge_tui.runs.starting import Start
from forge_tui.safe_io import whole_files


def named(maker: RunMaker, run: str, name: str = "", note: str = "", **made: object) -> Path:
    path = maker.make(run, count=1, **made)  # type: ignore[arg-type]
    write_label(RunDirectory(path), Label(name, note))
    return path


# --- what a name may be


@pytest.mark.parametrize("name", ["baseline", "base line 2", "v1.2_ok", "Größe", "2026"])
def test_usual_names_are_kept_as_typed(name: str) -> None:
    assert checked_run_name(f" {name} ") == name


@pytest.mark.parametrize(
    "name", ["a/b", "-x", ".", "..", "~", ".hidden", "a\x1b[2J", "a\nb", "x*", "x" * (LONGEST_NAME + 1)]
)
def test_what_could_be_a_path_or_an_option_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="give letters, digits"):
        checked_run_name(name)


def test_a_note_is_one_line_of_bounded_length() -> None:
    assert checked_note("two\nlines  \x1b[31mred") == "two lines [31mred"
    with pytest.raises(UsageError, match="at most 1,000"):
        checked_note("x" * (LONGEST_NOTE + 1))


# --- the file


def test_it_is_written_and_read_and_emptied(maker: RunMaker) -> None:
    path = maker.make(count=1)
    with Run(path) as run:
        assert run.label == Label()
        assert run.set_label(name="baseline", note="with dropout") == Label("baseline", "with dropout")
        assert run.set_label(note="") == Label("baseline", "")
    record = json.loads((path / "label.json").read_text())
    assert record == {"forge_tui": "label", "v": 1, "name": "baseline", "note": ""}
    assert read_label(path) == Label("baseline", "")


def test_a_viewer_sees_another_name_without_another_change_of_the_run(maker: RunMaker) -> None:
    path = maker.make(count=1)
    with Run(path) as run:
        assert run.snapshot().title == path.name
        write_label(run.directory, Label("first"))
        assert run.snapshot().title == "first"
        write_label(run.directory, Label("second"))
        assert (run.snapshot().title, run.snapshot().heading) == ("second", f"second ({path.name})")
        assert run.snapshot().to_record()["name"] == "second"


def test_a_kill_while_it_is_written_leaves_the_old_one(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = named(maker, "run", "old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(whole_files.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_label(RunDirectory(path), Label("new"))
    assert read_label(path) == Label("old")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"forge_tui": "label", "v": 1}', b'{"forge_tui": "label", "v": 1, "name": 3, "note": ""}', b"\xff"],
)
def test_what_cannot_be_read_is_no_label(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "label.json").write_bytes(content)
    assert read_label(tmp_path) == Label()


def test_control_characters_of_a_hostile_label_are_harmless(tmp_path: Path) -> None:
    record = {"forge_tui": "label", "v": 1, "name": "a\x1b]0;x\x07", "note": "b\u202e"}
    (tmp_path / "label.json").write_text(json.dumps(record))
    assert read_label(tmp_path) == Label("a ]0;x ", "b ")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "other.json"
    target.write_text(json.dumps({"forge_tui": "label", "v": 1, "name": "a", "note": ""}))
    (tmp_path / "label.json").symlink_to(target)
    assert read_label(tmp_path) == Label()


# --- whose file it is


def test_a_file_of_somebody_else_is_neither_read_nor_replaced_nor_deleted(maker: RunMaker) -> None:
    path = maker.make(count=1)
    (path / "label.json").write_text('{"name": "my labels"}')
    with Run(path) as run, pytest.raises(RunDirectoryError, match=r"label\.json is no file of forge-tui"):
        run.set_label(name="x")
    assert not is_label(path / "label.json")
    assert [one.name for one in delete(path)] == ["label.json"]
    assert (path / "label.json").read_text() == '{"name": "my labels"}'


def test_a_run_is_deleted_with_its_label_and_with_what_a_kill_has_left_of_it(maker: RunMaker) -> None:
    path = named(maker, "run", "x")
    (path / ".label.json.01234567.tmp").write_bytes(b'{"forge_tui": "la')
    assert delete(path) == ()
    assert not path.exists()


# --- RUN


def test_a_name_stands_for_its_run_beside_directory_and_id(maker: RunMaker) -> None:
    path = named(maker, "20261123-150210-planner", "baseline")
    for word in ("baseline", "20261123-150210-planner", "20261123", str(path)):
        assert registry.resolve(word) == path


def test_a_whole_name_comes_before_the_beginning_of_an_id(maker: RunMaker) -> None:
    named(maker, "20261123-150210-planner")
    other = named(maker, "other", "2026")
    assert registry.resolve("2026") == other


def test_a_name_of_two_runs_is_refused_with_both_directories(maker: RunMaker) -> None:
    paths = [named(maker, run, "same") for run in ("a", "b")]
    with pytest.raises(UsageError) as caught:
        registry.resolve("same")
    assert all(str(path) in str(caught.value) for path in paths)
    assert "'same' fits 2 runs" in str(caught.value)
    assert "give the directory of one" in str(caught.value)


def test_a_name_that_is_another_runs_id_is_refused(maker: RunMaker) -> None:
    named(maker, "a")
    named(maker, "b", "a")
    with pytest.raises(UsageError, match="'a' fits 2 runs"):
        registry.resolve("a")


def test_a_name_that_is_a_run_directory_here_is_refused_and_says_how_to_write_each(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = maker.make("wheat", count=1)
    named(maker, "other", "wheat")
    monkeypatch.chdir(maker.base)
    with pytest.raises(UsageError, match=r"write \./wheat for the directory, or other for the other one"):
        registry.resolve("wheat")
    assert registry.resolve("./wheat") == here
    assert registry.resolve("other").name == "other"


def test_a_run_may_be_called_like_its_own_directory(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = named(maker, "wheat", "wheat")
    monkeypatch.chdir(maker.base)
    assert registry.resolve("wheat") == path


def test_a_name_that_is_mistyped_is_suggested(maker: RunMaker) -> None:
    named(maker, "20261123-150210-planner", "baseline")
    with pytest.raises(UsageError, match="the nearest are baseline"):
        registry.resolve("basline")


# --- lists


def test_the_list_of_runs_has_names_notes_and_results(maker: RunMaker) -> None:
    named(maker, "run", "baseline", "a note")
    (entry,) = known_runs()
    assert (entry.name, entry.note, entry.title) == ("baseline", "a note", "baseline")
    assert (entry.metric, entry.value, entry.seconds) == ("accuracy", 0.972, 600.0)


def test_results_that_an_older_version_has_not_recorded_are_read_from_the_run(maker: RunMaker) -> None:
    path = maker.make(count=1)
    registry.finished(path, "completed", 1.0)
    assert known_runs()[0].metric is None  # not read unless asked for
    (entry,) = known_runs(results=True)
    assert (entry.status, entry.metric, entry.value, entry.seconds) == ("completed", "accuracy", 0.972, 600.0)


def test_results_that_were_recorded_with_the_end_are_not_read_again(maker: RunMaker) -> None:
    path = maker.make(count=1)
    registry.finished(path, "completed", 1.0, best=("R²", 0.5), seconds=7.0)
    (path / "run.db").write_bytes(b"cannot be read")
    (entry,) = known_runs(results=True)
    assert (entry.status, entry.metric, entry.value, entry.seconds) == ("completed", "R²", 0.5, 7.0)


def test_a_list_that_is_rewritten_keeps_results(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_SUPERSEDED", 0)
    path = maker.make(count=1)
    registry.finished(path, "completed", 1.0, best=("loss", 0.5), seconds=7.0)
    registry.forget(Path(os.devnull))
    assert [(one.metric, one.value, one.seconds) for one in registry.known()] == [("loss", 0.5, 7.0)]


# --- a start that moves an earlier run away


def test_each_run_in_a_directory_keeps_its_own_label(maker: RunMaker) -> None:
    directory = RunDirectory(named(maker, "run", "old"))
    with RunLock.acquire(directory.lock):
        start = Start.begin(directory, ["cognate_planner_1"], b"", "move", made_root=False)
        start.move_earlier()
        assert read_label(directory.path) == Label()
        write_label(directory, Label("new"))
        assert read_label(directory.path / "previous-1") == Label("old")
        start.undo()
    assert read_label(directory.path) == Label("old")
    assert not (directory.path / "previous-1").exists()


def test_a_foreign_file_is_no_reason_against_a_run_without_a_name(tmp_path: Path) -> None:
    (tmp_path / "label.json").write_text("[]")
    directory = RunDirectory(tmp_path)
    directory.make()
    with RunLock.acquire(directory.lock):
        Start.begin(directory, ["cognate_planner_1"], b"", "refuse", made_root=False).undo()
        with pytest.raises(RunDirectoryError, match="leave the run without a name"):
            refuse_foreign_label(directory)
    assert (tmp_path / "label.json").read_text() == "[]"
