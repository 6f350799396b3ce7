"""What the guide says of keys, commands and custom code holds, and its blocks for Python run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from doc_pages import PAGES, blocks, section, text_of

import forge_tui.cli
from forge_tui.cli.command_table import COMMANDS
from forge_tui.tui.bindings import ACTIONS


def test_every_command_is_described() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES if "reference" not in page.parts)
    for command in COMMANDS:
        assert re.search(rf"`(forge-tui )?{command.name}\b", pages), command.name


def test_every_letter_key_is_described() -> None:
    keys = section(text_of("docs/guide/watch.md"), "## Keys")
    for action in ACTIONS:
        for key in action.keys:
            if len(key) == 1 and key.isalpha():
                assert f"`{key}`" in keys, (action.id, key)


def test_the_blocks_for_python_run_one_after_another(tmp_path: Path) -> None:
    """Training, and the files that it leaves; with fewer epochs, which is all that is changed."""
    training, *others = [
        content for language, content in blocks(text_of("docs/guide/python.md")) if language == "python"
    ]
    shorter = training.replace("epochs=50", "epochs=1")
    assert shorter != training
    assert len(others) == 3
    code = "\n".join([shorter, *others])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, is_size, *states, curve, frames = done.stdout.splitlines()
    assert re.fullmatch(r"planner \{'loss': .*'accuracy': .*\} \d\.\d+", first), first
    assert (is_size, states[-1]) == ("True", "completed")
    assert re.fullmatch(r"\[0\.\d+, 0\.\d+, 0\.\d+\]", curve), curve
    assert frames == "['completed', 'completed'] 3"


def test_the_example_of_custom_code_is_the_starting_point() -> None:
    shown = [content for language, content in blocks(text_of("docs/guide/custom-code.md")) if language == "python"]
    starting_point = Path(forge_tui.cli.__file__).parent / "starting_point" / "model" / "network.py"
    assert shown == [starting_point.read_text(encoding="utf-8")]


def test_the_training_function_of_the_guide_is_that_of_the_front_page() -> None:
    """There it is run by a test."""
    pages = (
        text_of("docs/guide/training-functions.md"),
        section(text_of("README.md"), "## A training loop of your own"),
    )
    (shown,), (run,) = ([content for language, content in blocks(page) if language == "python"] for page in pages)
    assert shown == run
    assert len(shown.splitlines()) <= 25


def test_a_script_that_reports_runs_alone_as_well(tmp_path: Path) -> None:
    (shown,) = [content for language, content in blocks(text_of("docs/guide/commands.md")) if language == "python"]
    done = subprocess.run([sys.executable, "-c", shown], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("", "", [])
