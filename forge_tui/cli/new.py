"""`new NAME`: a starting point for custom code, which trains as it stands."""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from forge_tui.errors import UsageError
from forge_tui.safe_io.printing import answer, escaped, named, shell_word

_SETTINGS = "settings.toml"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A starting point: `code` beside its settings. `package`: what it needs to be installed."""

    code: str
    about: str
    runs_inside: bool = False
    package: str | None = None


_KINDS = {
    "model": _Kind("network.py", "a model and its data"),
    "loop": _Kind("loop.py", "a training loop"),
    "command": _Kind("train.py", "a program", runs_inside=True),
    "lightning": _Kind("classifier.py", "a Lightning module", package="lightning"),
}


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("name", metavar="NAME", help="the directory to make")
    parser.add_argument(
        "--kind", choices=tuple(_KINDS), default="model",
        help="model (default): network, data and loss for the built-in loop; loop: a training loop of your own; "
        "command: any program; lightning: a Lightning module",
    )  # fmt: skip


def run(arguments: argparse.Namespace, name: str) -> int:
    """Write the files into a directory that has neither of them, new or not, and say what to do next."""
    directory, kind = Path(arguments.name).expanduser(), _KINDS[arguments.kind]
    files = (kind.code, _SETTINGS)
    taken = [file for file in files if (directory / file).exists()]
    if taken:
        raise UsageError(f"{named(directory / taken[0])} is there already; give another name")
    source = resources.files("forge_tui.cli") / "starting_point" / arguments.kind
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file in files:
            with (directory / file).open("x", encoding="utf-8") as target:
                target.write((source / file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{named(directory)} cannot be written: {error.strerror or error}; give another name"
        ) from None
    code, settings = directory / kind.code, directory / _SETTINGS
    if kind.package is not None and importlib.util.find_spec(kind.package) is None:
        answer(escaped(f"{kind.package} is not installed here: pip install 'forge-tui[{kind.package}]'"))
    answer(escaped(f"{code} has {kind.about}, {settings} the settings of a run. Train:"))
    if kind.runs_inside:
        answer(f"  cd {shell_word(str(directory))}")
        settings = Path(_SETTINGS)
    answer(f"  forge-tui --settings {shell_word(str(settings))}")
    return 0
