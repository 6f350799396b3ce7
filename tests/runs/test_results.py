"""Finished models get their final names: both files or none that match, whenever that is interrupted."""

from __future__ import annotations

import os
from pathlib import Path

from killed import each_kill

from forge_tui.runs.results import Result, publish

ENDINGS = ("safetensors", "json")


def finished(run: Path, name: str, attempt: int, text: str) -> Result:
    """A model that an attempt has written."""
    directory = run / "checkpoints" / name
    directory.mkdir(parents=True, exist_ok=True)
    for ending in ENDINGS:
        (directory / f"result-attempt-{attempt}.{ending}").write_text(text)
    return Result(name, attempt)


def publish_in(run: Path, *results: Result) -> dict[Result, str]:
    descriptor = os.open(run, os.O_RDONLY)
    try:
        return {result: str(error) for result, error in publish(descriptor, results).items()}
    finally:
        os.close(descriptor)


def there(run: Path, name: str) -> list[str | None]:
    """What its weights and its metadata say; None where there are none."""
    paths = [run / f"{name}.{ending}" for ending in ENDINGS]
    return [path.read_text() if path.exists() else None for path in paths]


def test_results_replace_what_was_there_and_leave_other_attempts_alone(tmp_path: Path) -> None:
    one, two = finished(tmp_path, "one", 1, "old"), finished(tmp_path, "two", 3, "two")
    assert publish_in(tmp_path, one) == {}
    one = finished(tmp_path, "one", 2, "new")
    finished(tmp_path, "one", 1, "late")
    assert publish_in(tmp_path, one, two) == {}
    assert (there(tmp_path, "one"), there(tmp_path, "two")) == (["new", "new"], ["two", "two"])
    assert len(list((tmp_path / "checkpoints" / "one").iterdir())) == 2  # the late ones


def test_one_that_cannot_be_published_holds_up_no_other(tmp_path: Path) -> None:
    one, absent = finished(tmp_path, "one", 1, "one"), Result("absent", 1)
    refused = publish_in(tmp_path, absent, one)
    assert list(refused) == [absent]
    assert refused[absent].startswith("cannot give its final name to absent.safetensors: No such file or directory")
    assert there(tmp_path, "one") == ["one", "one"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    finished(outside, "one", 1, "theirs")
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "one").symlink_to(outside / "checkpoints" / "one")
    assert len(publish_in(run, Result("one", 1))) == 1
    assert there(run, "one") == [None, None]
    assert len(list((outside / "checkpoints" / "one").iterdir())) == 2


def test_a_kill_at_any_instant_leaves_metadata_only_beside_its_own_weights_or_newer_ones(tmp_path: Path) -> None:
    run = tmp_path / "run"
    publish_in(run, finished(run, "one", 1, "old"))
    new = finished(run, "one", 2, "new")
    found = [there(copy, "one") for _, copy in each_kill(run, tmp_path, lambda copy: publish_in(copy, new))]
    assert found == [["old", "old"], ["new", "old"]]
