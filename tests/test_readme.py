"""The README and the tutorial show what happens: their commands run from top to bottom, and output is compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import README, blocks, section, text_of

TEXT = README.read_text(encoding="utf-8")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
# Other versions of torch, and other processors, train a little differently.
_FIGURES_DIFFER_BY = 0.1
Outputs = list[tuple[str, str]]


def run(command: str, place: Path) -> str:
    """What a block of commands for the shell prints on stdout; fails where one of them does."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=place, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, env=os.environ | {"PATH": path, "COLUMNS": "120"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def follow(text: str, place: Path) -> Outputs:
    """Do what a page says in `place`: write its files, run its commands; (shown, seen) of each output it shows."""
    outputs, output = [], ""
    for language, content in blocks(text):
        if language == "python":
            name = re.match(r"# (\w+\.py)\n", content)
            assert name is not None, "a block for Python begins with the name of its file"
            (place / name[1]).write_text(content, encoding="utf-8")
        elif language == "sh":
            output = run(content, place)
        elif language == "text":
            outputs.append((content, output.replace(str(place.resolve()), "/home/you")))
        else:
            raise AssertionError(f"what is a block of {language!r}?")
    return outputs


def shape(text: str) -> str:
    """`text` without its figures, and with one space where there are several."""
    return re.sub(r" +", " ", _NUMBER.sub("#", text)).strip()


def figures(text: str) -> list[float]:
    """The figures of what was measured, all of which lie between 0 and 1."""
    return [float(number) for number in re.findall(r"\b[01]\.\d{2,4}\b", text)]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outputs]:
    """Where the README's sections after the quick start were followed, and their outputs."""
    home = tmp_path_factory.mktemp("reader")
    place = home / "you"
    place.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STATE", "CONFIG"):
            patch.setenv(f"XDG_{name}_HOME", str(home / name))
        outputs = follow(section(TEXT, "## Train on your CSV, in five minutes"), place)
        outputs += follow(section(TEXT, "## A model of your own"), place)
        outputs += follow(section(TEXT, "## A training loop of your own"), place)
    return place, outputs


def test_every_command_prints_what_is_shown(walked: tuple[Path, Outputs]) -> None:
    _, outputs = walked
    assert len(outputs) == 4
    for shown, seen in outputs:
        assert shape(seen) == shape(shown)
        assert figures(seen) == pytest.approx(figures(shown), abs=_FIGURES_DIFFER_BY)


def test_the_reader_has_the_files_that_are_named(walked: tuple[Path, Outputs]) -> None:
    place, _ = walked
    for name in ("make_wheat.py", "wheat.csv", "wheat/run.db", "grains.csv", "wide.py", "wide/cognate_wide_6.json"):
        assert (place / name).is_file(), name


def test_every_key_of_a_models_record_is_described(walked: tuple[Path, Outputs]) -> None:
    place, _ = walked
    page = section(text_of("docs/reference/files.md"), "## A finished model")
    for stem in ("wheat/cognate_planner_1", "wide/cognate_wide_1"):
        for key in json.loads((place / f"{stem}.json").read_text(encoding="utf-8")):
            assert f"`{key}`" in page, key


def test_the_tutorial_continues_from_there(walked: tuple[Path, Outputs]) -> None:
    place, _ = walked
    outputs = follow(text_of("docs/tutorial.md"), place)
    assert len(outputs) == 3
    for shown, seen in outputs:
        assert shape(seen) == shape(shown)
    assert not (place / "long").exists()
    epochs = (place / "epochs.csv").read_text(encoding="utf-8").splitlines()
    models = json.loads((place / "rates.json").read_text(encoding="utf-8"))["models"]
    assert len(models) == 9
    assert len(epochs) - 1 == sum(model["epoch"] for model in models) < 9 * 27


def test_other_figures_and_other_words_are_found() -> None:
    assert shape("loss  0.10,  3 models") == shape("loss 0.25, 4 models") != shape("los 0.25, 4 models")
    assert figures("val 0.1955 ± 0.0016, 40/40, 5,123, 1.00") == [0.1955, 0.0016, 1.0]


def test_the_quick_start_has_exactly_two_commands() -> None:
    quick_start = section(TEXT, "## Quick start")
    assert [language for language, _ in blocks(quick_start)] == ["sh", "sh"]
    assert all(len(content.splitlines()) == 1 for _, content in blocks(quick_start))


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 220
