"""`new NAME`: an example of custom code, a model and its data."""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path

from forge_tui.errors import UsageError
from forge_tui.safe_io.printing import answer, escaped, named, shell_word

_FILES = ("network.py", "settings.toml")


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("name", metavar="NAME", help="the directory to make")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Write the files into a directory that has neither of them, new or not, and say what to do next."""
    directory = Path(arguments.name).expanduser()
    taken = [file for file in _FILES if (directory / file).exists()]
    if taken:
        raise UsageError(f"{named(directory / taken[0])} is there already; give another name")
    source = resources.files("forge_tui.cli") / "starting_point"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file in _FILES:
            with (directory / file).open("x", encoding="utf-8") as target:
                target.write((source / file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{named(directory)} cannot be written: {error.strerror or error}; give another name"
        ) from None
    network, settings = directory / "network.py", directory / "settings.toml"
    answer(escaped(f"{network} has a model and its data, {settings} names them. Train them:"))
    answer(f"  forge-tui --settings {shell_word(str(settings))}")
    return 0
