"""The manual page says what `--help` says, is valid roff, and is installed with the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from doc_pages import ROOT, text_of
from manual_page import exit_statuses, roff

from forge_tui.cli.command_table import COMMANDS
from forge_tui.settings.schema import fields_of

PAGE = ROOT / "docs" / "forge-tui.1"


def shown() -> str:
    """The page as `man` shows it, on a line of 200 columns, without overstriking."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=200n", str(PAGE)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_every_command_and_setting_is_on_the_page() -> None:
    text = shown()
    for command in COMMANDS:
        assert re.search(rf"^ +{command.name}( |$)", text, re.MULTILINE), command.name
        assert f"{command.help[:1].upper()}{command.help[1:]}." in text
    for key in fields_of():
        assert re.search(rf"^ +{key.flag}( |$)", text, re.MULTILINE), key.flag


def test_the_exit_statuses_are_those_of_the_guide() -> None:
    text = shown()
    statuses = exit_statuses(text_of("docs/guide/start.md"))
    assert [status for status, _ in statuses] == ["0", "1", "2", "3", "4", "128 + signal"]
    for status, meaning in statuses:
        assert re.search(rf"^ +{re.escape(status)}\s+{re.escape(meaning)}$", text, re.MULTILINE), status


def test_a_page_without_exit_statuses_is_refused() -> None:
    with pytest.raises(ValueError, match="no table"):
        exit_statuses("# Start\n\n| a | b |\n")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("--no-ui", r"\-\-no\-ui"),
        (".csv files", r"\&.csv files"),
        ("'a' of C:\\dir", r"\&\(aqa\(aq of C:\edir"),
        ("a\n  b", "a b"),
        ("5 µs", r"5 \[u00B5]s"),
    ],
)
def test_text_is_shown_as_it_is(text: str, written: str) -> None:
    assert roff(text) == written


def test_the_wheel_installs_it() -> None:
    from hatchling.builders.wheel import WheelBuilder

    builder = WheelBuilder(str(ROOT))
    assert builder.config.shared_data == {str(PAGE): "share/man/man1/forge-tui.1"}
