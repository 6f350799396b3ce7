"""`forge-tui sample`: the text alone on stdout, of the model that is meant, and errors in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_directories import RunMaker
from running import SMALL, forge

from forge_tui.cli import main
from forge_tui.protocol.phases import RunState, TrainingPhase

LINE = "the quick brown fox jumps over the lazy dög;\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two language models."""
    where = tmp_path_factory.mktemp("sample")
    (where / "text.txt").write_text(LINE * 30, encoding="utf-8")
    forge(
        "--no-ui", *SMALL, "--model-size", "8000", "--dataset", "text.txt", "--models", "2", "--epochs", "30",
        "--batch-size", "4", "--learning-rate", "0.02", "--output", "run", cwd=where,
    )  # fmt: skip
    return where / "run"


def test_the_text_alone_is_printed(run: Path) -> None:
    done = forge("sample", run, "1", "--prompt", "the quick", "--length", "100", "--temperature", "0")
    assert done.stdout == (LINE * 3)[: len("the quick") + 100]
    assert done.stderr == ""


def test_models_by_number_and_name_or_the_best(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert main(["sample", str(run), *arguments, "--temperature", "5", "--seed", "3"]) == 0
        return capsys.readouterr().out

    first, second = said("1"), said("2")
    assert first != second
    assert said("cognate_planner_2") == second
    assert main(["best", str(run)]) == 0
    best = capsys.readouterr().out.strip()
    assert said() == {"1": first, "2": second}[best[-1]]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--prompt", "the quiçk"], 2, "does not know the character 'ç' (number 8 of the prompt)"),
        (["cognate_planner_3"], 2, "has no model 'cognate_planner_3'; it has cognate_planner_1, cognate_planner_2"),
    ],
)
def test_what_cannot_be_is_told_in_words(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str
) -> None:
    assert main(["sample", str(run), *arguments]) == status
    out, said = capsys.readouterr()
    assert out == ""
    assert words in said


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--length", "0", "must be a whole number, at least 1"),
        ("--length", "many", "must be a whole number, at least 1"),
        ("--top-k", "0", "must be a whole number, at least 1"),
        ("--seed", "-1", "must be a whole number, at least 0"),
        ("--temperature", "-0.1", "must be a number, at least 0"),
        ("--temperature", "nan", "must be a number, at least 0"),
    ],
)
def test_values_out_of_range_are_refused(
    capsys: pytest.CaptureFixture[str], option: str, value: str, words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sample", "anything", f"{option}={value}"])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_without_a_finished_model_it_fails_in_words(maker: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    path = maker.make("one", RunState.STOPPED, [maker.model(1, TrainingPhase.QUEUED)])
    assert main(["sample", str(path)]) == 1
    assert "run one: no model is completed (stopped); `forge-tui resume one`" in capsys.readouterr().err
    assert main(["sample", str(path), "1"]) == 4
    assert f"there is no model at {path / 'cognate_planner_1'}" in capsys.readouterr().err
