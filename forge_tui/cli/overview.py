"""`forge-tui --help` and `forge-tui help [COMMAND]`: the commands and examples first, the settings on request."""

from __future__ import annotations

import argparse

from forge_tui.cli.command_table import COMMANDS, GROUPS, parser_of, unknown_command

EXAMPLES = (
    ("forge-tui", "configure and start a run in the UI"),
    ("forge-tui demo", "try it"),
    ("forge-tui --dataset sales.csv --target price --models 4", "train on a table"),
    ("forge-tui --no-ui --sweep learning_rate=1e-3,3e-3", "train each, in a script"),
    ("forge-tui attach", "watch the newest run, from any terminal"),
)
_OPTIONS = (
    ("--no-ui", "batch mode: progress on stderr, results on stdout"),
    ("--detach, --check", "return when the run has begun; validate, train nothing"),
    ("--settings FILE", "settings in TOML; every setting is a flag, too"),
    ("--help-all", "every option and setting"),
    ("-V, --version", "the version"),
)


def configure(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add the options of `help`."""
    parser.add_argument("command", metavar="COMMAND", nargs="?", help="a command; without it all are listed")


def run(arguments: argparse.Namespace, _name: str) -> int:
    """Show the help of a command, or the overview."""
    if arguments.command is None:
        return show()
    for command in COMMANDS:
        if command.name == arguments.command:
            parser_of(command).print_help()
            return 0
    return unknown_command(arguments.command)


def show() -> int:
    """Print the overview."""
    print(text())
    return 0


def text() -> str:
    """The commands in groups, examples and the options of a start: 80 columns, 60 lines."""
    lines = [
        "usage: forge-tui [OPTIONS] | forge-tui COMMAND [OPTIONS]",
        "Train PyTorch models in series or in parallel without overloading the machine.",
        "",
        "Examples:",
        *(f"  {command:<17}  {words}" for command, words in EXAMPLES),
    ]
    width = max(len(command.name) for command in COMMANDS)
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {command.name.ljust(width)}  {command.help}" for command in commands)]
    width = max(len(option) for option, _ in _OPTIONS)
    lines += ["", "Options:", *(f"  {option.ljust(width)}  {words}" for option, words in _OPTIONS)]
    return "\n".join(lines)
