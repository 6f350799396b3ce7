"""Help for people, misspelled words, and completion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from run_directories import RunMaker

from forge_tui import __version__
from forge_tui.cli import main, overview
from forge_tui.cli.command_table import COMMANDS
from forge_tui.client import Run
from forge_tui.protocol.phases import RunState
from forge_tui.runs import registry


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    return status, *capsys.readouterr()


def test_the_overview_fits_and_names_every_command_and_five_examples(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys, "--help")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    for command in COMMANDS:
        assert f"  {command.name} " in out
    assert len(overview.EXAMPLES) == 5
    assert lines.index("Examples:") < lines.index("Train:") < lines.index("Options:")
    assert "--model-size" not in out


@pytest.mark.parametrize("arguments", [("-h",), ("help",)])
def test_there_are_other_ways_to_the_overview(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, *arguments)[1] == f"{overview.text()}\n"


def test_the_examples_are_right() -> None:
    from forge_tui.cli.command_table import START, parser_of

    for line, _ in overview.EXAMPLES:
        _, *words = line.split()
        if not words or words[0].startswith("-"):
            parser_of(START).parse_args(words)
        else:
            assert words[0] in [command.name for command in COMMANDS]


def test_all_settings_are_shown_when_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "--help-all")
    assert status == 0
    assert all(flag in out for flag in ("--model-size", "--grokfast-alpha", "--log-bytes"))


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help_of_a_command_is_that_of_its_flag(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, asked, _ = told(capsys, "help", command)
    assert status == 0
    assert asked.startswith(f"usage: forge-tui {command} ")
    assert asked == told(capsys, command, "--help")[1]


def test_help_of_no_command_names_the_one_that_may_be_meant(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = told(capsys, "help", "repotr")
    assert status == 2
    assert "there is no command 'repotr'; did you mean 'report'?" in err


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, flag)[:2] == (0, f"forge-tui {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("--no-ui", "--epoch", "3"), "unrecognized arguments: --epoch 3; did you mean --epochs?"),
        (("--no-ui", "--epoch=3"), "unrecognized arguments: --epoch=3; did you mean --epochs?"),
        (("report", "--formt", "csv"), "unrecognized arguments: --formt; did you mean --format?"),
        (("--no-ui", "--qqq"), "unrecognized arguments: --qqq\n"),
    ],
)
def test_a_misspelled_flag_names_the_one_that_may_be_meant(
    arguments: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = told(capsys, *arguments)
    assert status == 2
    assert meant in err


# Completion


def completed(line: str, cwd: Path) -> list[str]:
    """What a shell is offered for the last word of a line."""
    answers = cwd / "answers"
    variables = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9", "_ARGCOMPLETE": "1"}
    variables |= {"_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_STDOUT_FILENAME": str(answers)}
    answers.touch()
    subprocess.run([sys.executable, "-m", "forge_tui"], env={**os.environ, **variables}, cwd=cwd, check=True)
    found = answers.read_text().split("\n")
    answers.unlink()
    return sorted(word.strip() for word in found)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("forge-tui sta", ["status"]),
        ("forge-tui help sta", ["status"]),
        ("forge-tui --grokfast-f", ["--grokfast-filter"]),
        ("forge-tui --optimizer ad", ["adam", "adamw"]),
        ("forge-tui attach --theme ", ["ansi", "contrast", "dark", "light"]),
        ("forge-tui report --for", ["--format"]),
        ("forge-tui --preset grok", ["grokking", "grokking-fast"]),
        ("forge-tui --set training.ep", ["training.epochs="]),
        ("forge-tui --dataset sal", ["sales.csv"]),
        ("forge-tui completion ", ["bash", "fish", "zsh"]),
    ],
)
def test_commands_flags_words_and_files_are_completed(line: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "sales.csv").touch()
    assert completed(line, tmp_path) == words


def test_runs_and_their_models_are_completed(maker: RunMaker, tmp_path: Path) -> None:
    path = maker.make("1123-planner", RunState.RUNNING)
    with Run(path) as run:
        registry.register(run.snapshot().run)
        names = [model.name for model in run.snapshot().models]
    assert completed("forge-tui logs 11", tmp_path) == ["1123-planner"]
    assert completed("forge-tui cancel 1123-planner cog", tmp_path) == names


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_for_a_shell_is_a_program_of_it(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = told(capsys, "completion", shell)[1]
    assert "forge-tui" in code
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not there")
    (tmp_path / "code").write_text(code)
    subprocess.run([shell, "-n", tmp_path / "code"], check=True)
