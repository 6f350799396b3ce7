"""`forge-tui completion SHELL`, and the answers to a shell that completes a command line (argcomplete).

Completes commands, flags, the values of settings, files, known runs and their models.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable, Iterable
from typing import Any

_SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "forge-tui"
Completer = Callable[..., Iterable[str]]


def configure(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add the options of `completion`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))
    parser.epilog = (
        "bash:  forge-tui completion bash >> ~/.bash_completion\n"
        'zsh:   eval "$(forge-tui completion zsh)"   in ~/.zshrc, after compinit\n'
        "fish:  forge-tui completion fish > ~/.config/fish/completions/forge-tui.fish"
    )


def run(arguments: argparse.Namespace, _name: str) -> int:
    """Print the shell's completion code."""
    from argcomplete.shell_integration import shellcode

    print(shellcode([_PROGRAM], shell=arguments.shell))
    return 0


def complete_line() -> int:
    """Answer the shell, which passes the line in environment variables, and exit."""
    import argcomplete

    argcomplete.autocomplete(whole_parser(os.environ.get("COMP_LINE", "")), always_complete_options=False)
    return 1  # not reached when a shell asks


def whole_parser(line: str) -> argparse.ArgumentParser:
    """All commands in one parser; only the command on `line` has its options."""
    from forge_tui.cli.command_table import COMMANDS, START, parser_of
    from forge_tui.cli.parser import Parser

    parser = parser_of(START)
    commands = parser.add_subparsers(dest="command", parser_class=Parser)
    words = line.split()
    for command in COMMANDS:
        one = commands.add_parser(command.name, help=command.help, allow_abbrev=False)
        if command.name in words:
            importlib.import_module(f"forge_tui.cli.{command.module}").configure(one, command.name)
            _add_completers(one)
    _add_completers(parser)
    return parser


def _add_completers(parser: argparse.ArgumentParser) -> None:
    from argcomplete.completers import DirectoriesCompleter, FilesCompleter

    from forge_tui.settings.presets import preset_names
    from forge_tui.settings.schema import keys_by_name

    by_dest: dict[str, Completer] = {
        "run": _runs,
        "runs": _runs,
        "against": _runs,
        "model": _models,
        "preset": lambda **_: preset_names(),
        "set": _assignments,
        "sweep": _assignments,
        "space": _assignments,
        "command": lambda **_: _names(),
        "run.output": DirectoriesCompleter(),
    }
    for action in parser._actions:
        if action.choices and action.dest not in by_dest:
            continue  # argcomplete offers these itself
        key = keys_by_name().get(action.dest)
        words = () if key is None else key.words
        if action.dest in by_dest:
            completer = by_dest[action.dest]
        elif action.metavar == "DIR":
            completer = DirectoriesCompleter()
        elif action.metavar in ("FILE", "PLACE", "TEXT") and not words:
            completer = FilesCompleter()
        else:
            completer = _choices(words)
        action.completer = completer  # type: ignore[attr-defined]


def _choices(words: Iterable[str]) -> Completer:
    return lambda **_: words


def _names() -> list[str]:
    from forge_tui.cli.command_table import COMMANDS

    return [command.name for command in COMMANDS]


def _assignments(**_: Any) -> list[str]:
    from forge_tui.settings.schema import fields_of

    return [f"{key.key}=" for key in fields_of()]


def _runs(prefix: str, **_: Any) -> list[str]:
    """Names and ids of the known runs; directories if a path is typed."""
    from argcomplete.completers import DirectoriesCompleter

    from forge_tui import client

    if os.sep in prefix or prefix.startswith("."):
        return list(DirectoriesCompleter()(prefix))
    return [name for entry in client.named_runs() for name in (entry.name, entry.run) if name]


def _models(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from forge_tui import client

    with client.attach(parsed_args.run) as run:
        return [model.name for model in run.snapshot().models]
