"""NAME.json and NAME.safetensors that somebody else has made: refused in words, and nothing large is made of them."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest
from hostile_files import MODEL_FILES
from hostile_records import json_file
from running import SMALL, forge

from forge_tui import load_model
from forge_tui.errors import ForgeError, RunDirectoryError
from forge_tui.training.sampling import sample_text

# These decide nothing of what a built-in model is: its vocabulary is anybody's text, its window is for sampling only.
LOADED = ("NAME.json: steering vocabulary", "NAME.json: window 10^15", "NAME.json: code elsewhere")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("models")
    (base / "text.txt").write_text("the quick brown fox jumps over the lazy dog;\n" * 20, encoding="utf-8")
    forge(
        "--no-ui", *SMALL, "--model-size", "8000", "--models", "1", "--epochs", "1", "--dataset", "text.txt",
        "--output", "run", cwd=base,
    )  # fmt: skip
    return base / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    (tmp_path / "guard").mkdir()
    shutil.copy(finished / "cognate_planner_1.json", tmp_path / "guard" / "model.json")
    (tmp_path / "guard" / "mine.txt").write_text("mine", encoding="utf-8")
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.mark.parametrize("case", MODEL_FILES)
def test_it_is_refused_in_words_or_is_the_model_that_it_was(run: Path, case: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    MODEL_FILES[case](run)
    stem = run / "cognate_planner_1"
    if case in LOADED:
        load_model(stem)
    else:
        with pytest.raises(ForgeError) as told:
            load_model(stem)
        assert str(run) in str(told.value) or "cognate_planner_1" in str(told.value)
        assert len(str(told.value)) < 2_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_a_window_that_no_model_has_is_cut(run: Path) -> None:
    """The model is asked with at most as much text as there is."""
    json_file(run / "cognate_planner_1.json", sequence_length=10**15)
    try:
        assert "".join(sample_text(run / "cognate_planner_1", length=80))
    except RunDirectoryError as error:
        assert "does not describe its model" in str(error)  # noqa: PT017


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_link_to_a_model_from_elsewhere_is_followed_and_one_in_a_run_is_not(run: Path, suffix: str) -> None:
    elsewhere = run.parent / "elsewhere"
    elsewhere.mkdir()
    for ending in (".json", ".safetensors"):
        (elsewhere / f"mine{ending}").symlink_to(run / f"cognate_planner_1{ending}")
    load_model(elsewhere / "mine")
    path = run / f"cognate_planner_1{suffix}"
    moved = Path(shutil.move(path, run.parent))
    os.symlink(moved, path)
    with pytest.raises(RunDirectoryError, match="is a symbolic link"):
        load_model(run / "cognate_planner_1")
